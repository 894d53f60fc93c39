"""Winograd's method in plain PyTorch, stage by stage: the reference for the kernels on the CPU.

F(m×m, r×r) computes m×m outputs of a convolution with r×r filters from a tile of t×t inputs, where
t = m + r - 1 and here m = 4 (Lavin & Gray, arXiv 1509.09308):

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        d: t×t inputs, g: r×r filter, Y: m×m outputs

Neighboring input tiles begin m pixels apart and overlap by r - 1; output tiles lie side by side.
With 3×3 filters (t = 6):

    input tiles                                 output tiles

    ├── tile 0 ───┤                             ├ tile 0 ┤
    0  1  2  3  4  5  6  7  8  9  …             0  1  2  3  4  5  6  7  …
                ├── tile 1 ───┤                             ├ tile 1 ┤

Summed over channels, ⊙ becomes one matrix product for each of the t² positions in a tile. So
transformed tiles are stored by position: a *plane* holds the values of all tiles at one position.

    stage               in                    out                         adjoint, for gradients
    filter transform    (M, C/G, r, r)        U = G g Gᵀ   (t²·G, M/G, C/G)   Gᵀ U G
    input transform     images (N, C, H, W)   V = Bᵀ d B   (t²·G, T, C/G)     B V Bᵀ, tiles added
    products            U, V                  P = V Uᵀ     (t²·G, T, M/G)     grad V, grad U
    output transform    P                     Aᵀ P A       (N, M, H', W')     A Y Aᵀ

G also counts groups, T = N · rows · columns the tiles of all images. Every stage is linear; a
gradient goes back through it by the adjoint (the transposed linear map).

Tests compare every stage of the kernels with the function of the same name here, and
`convolve_reference` with `F.conv2d`. It imports `cook_toom` and nothing else of this package.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.kernels.winograd.cook_toom import OUTPUT_TILE, build_matrices, tile_side


class Tiling(NamedTuple):
    """The tiles that cover the outputs of an image, and the convolution that they belong to."""

    kernel: int
    """r: the side of the filters."""
    padding: int
    """Zeros around the image, on each side."""
    groups: int
    height: int
    """H' of the outputs; 0 if the filter does not fit into the image."""
    width: int
    rows: int
    """Tiles from top to bottom."""
    columns: int
    """Tiles from left to right."""

    @classmethod
    def of(cls, x: Tensor, kernel: int, padding: int, groups: int) -> Tiling:
        """The tiling of images `x` (N, C, H, W)."""
        height, width = (max(0, side + 2 * padding - kernel + 1) for side in x.shape[2:])
        rows, columns = -(-height // OUTPUT_TILE), -(-width // OUTPUT_TILE)
        return cls(kernel, padding, groups, height, width, rows, columns)

    def workspace_bytes(self, x: Tensor, outputs: int) -> int:
        """Bytes of V and P for one image of `x` and `outputs` output channels."""
        numbers = tile_side(self.kernel) ** 2 * self.rows * self.columns
        return numbers * (x.shape[1] + outputs) * x.element_size()


def convolve_reference(
    x: Tensor, weight: Tensor, bias: Tensor, padding: int, groups: int
) -> Tensor:
    """Return `F.conv2d(x, weight, bias, padding=padding, groups=groups)`, within rounding."""
    tiling = Tiling.of(x, weight.shape[3], padding, groups)
    U = transform_filters(weight, tiling)
    V = transform_input(x, tiling)
    return transform_output(V @ U.mT, len(x), tiling) + bias[:, None, None]


def transform_filters(weight: Tensor, tiling: Tiling) -> Tensor:
    """Return U = G g Gᵀ of every filter: (M, C/G, r, r) → (t²·G, M/G, C/G)."""
    G = _matrices(weight, tiling)[1]
    U = torch.einsum("ai,mcij,bj->abmc", G, weight, G)
    return U.reshape(-1, len(weight) // tiling.groups, weight.shape[1])


def transform_filters_adjoint(U: Tensor, weight: Tensor, tiling: Tiling) -> Tensor:
    """Return Gᵀ U G, the gradient of the filters: (t²·G, M/G, C/G) → the shape of `weight`."""
    G, t = _matrices(U, tiling)[1], tile_side(tiling.kernel)
    return torch.einsum("ai,abmc,bj->mcij", G, U.view(t, t, *weight.shape[:2]), G)


def transform_input(x: Tensor, tiling: Tiling) -> Tensor:
    """Return V = Bᵀ d B of every tile: (N, C, H, W) → (t²·G, T, C/G)."""
    BT, t = _matrices(x, tiling)[2], tile_side(tiling.kernel)
    left, top, right, bottom = _margins(x.shape[2:], tiling)
    d = F.unfold(F.pad(x, (left, right, top, bottom)), t, stride=OUTPUT_TILE)
    return _to_planes(BT, d.unflatten(1, (-1, t, t)), tiling.groups)


def transform_input_adjoint(V: Tensor, x: Tensor, tiling: Tiling) -> Tensor:
    """Return B V Bᵀ, added up where tiles overlap: (t²·G, T, C/G) → the shape of `x`."""
    BT, t = _matrices(V, tiling)[2], tile_side(tiling.kernel)
    left, top, right, bottom = _margins(x.shape[2:], tiling)
    padded = top + x.shape[2] + bottom, left + x.shape[3] + right
    d = _from_planes(BT.T, V, len(x), tiling.groups)
    images = F.fold(d.flatten(1, 3), padded, t, stride=OUTPUT_TILE)
    return images[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def transform_output(products: Tensor, images: int, tiling: Tiling) -> Tensor:
    """Return Aᵀ P A, tiles side by side: (t²·G, T, M/G) → (N, M, H', W')."""
    AT, m = _matrices(products, tiling)[0], OUTPUT_TILE
    y = _from_planes(AT, products, images, tiling.groups)
    outputs = F.fold(y.flatten(1, 3), (m * tiling.rows, m * tiling.columns), m, stride=m)
    return outputs[:, :, : tiling.height, : tiling.width]


def transform_output_adjoint(y: Tensor, tiling: Tiling) -> Tensor:
    """Return A Y Aᵀ of every tile of gradients: (N, M, H', W') → (t²·G, T, M/G)."""
    AT, m = _matrices(y, tiling)[0], OUTPUT_TILE
    right, bottom = m * tiling.columns - tiling.width, m * tiling.rows - tiling.height
    tiles = F.unfold(F.pad(y, (0, right, 0, bottom)), m, stride=m)
    return _to_planes(AT.T, tiles.unflatten(1, (-1, m, m)), tiling.groups)


def _matrices(x: Tensor, tiling: Tiling) -> list[Tensor]:
    """Return Aᵀ, G and Bᵀ in the dtype of `x`."""
    return [torch.from_numpy(matrix).to(x) for matrix in build_matrices(tiling.kernel)]


def _margins(size: tuple[int, ...], tiling: Tiling) -> tuple[int, int, int, int]:
    """Return how far the input tiles reach beyond images of `size`: left, top, right, bottom."""
    overlap, p = tiling.kernel - 1, tiling.padding
    covered = [OUTPUT_TILE * tiles + overlap for tiles in (tiling.columns, tiling.rows)]
    return p, p, covered[0] - p - size[1], covered[1] - p - size[0]


def _to_planes(matrix: Tensor, tiles: Tensor, groups: int) -> Tensor:
    """Return the planes of matrix · tile · matrixᵀ: (N, C, i, j, tiles) → (a·a·G, T, C/G)."""
    transformed = torch.einsum("ai,ncijt,bj->abcnt", matrix, tiles, matrix)
    return (
        transformed.flatten(3).reshape(len(matrix) ** 2 * groups, tiles.shape[1] // groups, -1).mT
    )


def _from_planes(matrix: Tensor, planes: Tensor, images: int, groups: int) -> Tensor:
    """Return matrix · tile · matrixᵀ of tiles stored by position: → (N, C, a, a, tiles)."""
    side = matrix.shape[1]
    tiles = planes.mT.reshape(side, side, groups * planes.shape[2], images, -1)
    return torch.einsum("ai,ijcnt,bj->ncabt", matrix, tiles, matrix)
