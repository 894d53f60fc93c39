"""An autoencoder that compresses features to short binary codes, and its training.

Section 6.1 of the paper: "Computing similarity by using Euclidean distance between two
4096-dimensional, real-valued vectors is inefficient, but it could be made efficient by training an
auto-encoder to compress these vectors to short binary codes." After Krizhevsky & Hinton, "Using
very deep autoencoders for content-based image retrieval" (ESANN 2011), whose code units are also
rounded in the forward pass, while the backward pass ignores the rounding:

    features x (D) ── center ──▶ P ── z (p) ──▶ A ── tanh, sign ──▶ code (bits, ±1) ──▶ B ──▶ z′
                                                 forward: sign; backward: the gradient of tanh

The loss is the mean squared error of z′. Three choices make the training short:

* P are the leading principal components of the features, found by subspace iteration.
* A begins as the rotation of "Iterative quantization" (Gong & Lazebnik, CVPR 2011), which turns the
  principal components so that signs lose little, and B as the least-squares solution.
* The encoder is linear up to the sign, so P and A are multiplied once: encoding is one product.

`train_encoder` is called by `search.codes`. This module reads and writes no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alexnet.kernels.hamming.operator import WORD_BITS
from alexnet.validate import Range

MOST_BITS = 1 << 12
"""The longest code that can be asked for, as long as the paper's features."""
SPARE_COMPONENTS = 32
"""Additional directions in the subspace iteration, which make the wanted ones exact sooner."""
SUBSPACE_PASSES, ROTATION_PASSES = 4, 30
"""Passes of the two iterations; more of them change the error of the codes by less than 1 %."""
Report = Callable[[int, int, str], None]
"""A function that is told steps done, all steps, and a text about them."""


@dataclass(frozen=True)
class EncoderOptions:
    """What determines an encoder, together with the features.

    >>> alexnet.EncoderOptions(bits=128).bits
    128
    """

    bits: Annotated[int, Range(WORD_BITS, MOST_BITS)] = 256
    """Length of a code, a multiple of 64."""
    sample: Annotated[int, Range(1, 1 << 31)] = 20_000
    """Images to train on, at most, drawn at random."""
    steps: Annotated[int, Range(0, 1 << 31)] = 500
    batch_size: Annotated[int, Range(1, 1 << 31)] = 256
    learning_rate: Annotated[float, Range(0, 1)] = 1e-3
    seed: Annotated[int, Range(0, 1 << 31)] = 0

    def __post_init__(self) -> None:
        """Raise ValueError for values that no training can have."""
        if self.bits % WORD_BITS or not WORD_BITS <= self.bits <= MOST_BITS:
            raise ValueError(
                f"codes of {self.bits} bits were asked for: use a multiple of {WORD_BITS} up to "
                f"{MOST_BITS:,}, such as 256"
            )
        if self.sample < 1 or self.steps < 0 or self.batch_size < 1 or self.seed < 0:
            raise ValueError("sample and batch size must be at least 1, steps and seed at least 0")
        if not 0 <= self.learning_rate <= 1:
            raise ValueError(f"the learning rate is {self.learning_rate:g}, not from 0 to 1")


@dataclass(frozen=True, eq=False)
class Encoder:
    """Turns features into codes: bit i is 1 where `weight[i] · x + bias[i]` is positive."""

    weight: Tensor
    """float32 (bits, D)."""
    bias: Tensor
    """float32 (bits,)."""

    @property
    def bits(self) -> int:
        """Length of a code."""
        return len(self.weight)

    @property
    def dimensions(self) -> int:
        """D, the number of features of an image."""
        return self.weight.shape[1]

    @torch.inference_mode()
    def encode(self, features: Any) -> NDArray[np.uint8]:
        """Encode features (N, D), a tensor or an array: uint8 (N, bits / 8), most significant bit
        first.

        Raises ValueError for features of another shape.
        """
        x = torch.as_tensor(features, dtype=torch.float32)
        if x.dim() != 2 or x.shape[1] != self.dimensions:
            raise ValueError(
                f"features must be (N, {self.dimensions}) for these codes, got {tuple(x.shape)}"
            )
        outputs = torch.addmm(self.bias, x, self.weight.T)
        return np.packbits((outputs > 0).numpy(), axis=1)


def train_encoder(
    features: Tensor, options: EncoderOptions, report: Report = lambda *_: None
) -> Encoder:
    """Train an autoencoder on features, float32 (N, D), and return its encoder.

    Repeatable: all random numbers come from `options.seed`. Raises ValueError if features are
    infinite or NaN.
    """
    if not torch.isfinite(features).all():
        raise ValueError("the features hold NaN or infinite values: the network has diverged")
    generator = torch.Generator().manual_seed(options.seed)
    mean = features.mean(0)
    report(0, options.steps, "principal components")
    components = find_components(features - mean, options.bits, generator)
    z = (features - mean) @ components
    scale = z.square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    z = z / scale
    frame = make_frame(z.shape[1], options.bits, generator)
    if options.bits == z.shape[1]:
        frame = rotate_to_signs(z, frame)
    A, bias = fit(z, frame, options, generator, report)
    weight = (components @ A / scale).T.contiguous()
    return Encoder(weight, bias - weight @ mean)


def find_components(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Find the leading principal components of centered features x (N, D), one per column.

    At most `count`, and not more than D or N. Subspace iteration: random directions are multiplied
    by xᵀx and made orthonormal again, until they span the space of the largest variance (Halko,
    Martinsson & Tropp, "Finding structure with randomness", SIAM Review 2011).
    """
    width = min(count + SPARE_COMPONENTS, *x.shape)
    basis = torch.randn(x.shape[1], width, generator=generator)
    for _ in range(SUBSPACE_PASSES):
        basis = torch.linalg.qr(x.T @ (x @ basis)).Q
    projected = x @ basis
    _, directions = torch.linalg.eigh(projected.T @ projected)  # variances ascending
    return basis @ directions.flip(1)[:, : min(count, width)]


def make_frame(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Make a random matrix (rows, columns) of orthonormal blocks, side by side.

    With as many columns as rows it is a rotation. With more, each block of `rows` columns is one.
    """
    blocks = math.ceil(columns / rows)
    gaussian = torch.randn(blocks, rows, rows, generator=generator)
    return torch.linalg.qr(gaussian).Q.permute(1, 0, 2).reshape(rows, -1)[:, :columns].contiguous()


def rotate_to_signs(z: Tensor, rotation: Tensor) -> Tensor:
    """Turn a rotation (p, p) so that z (N, p) loses little by taking signs.

    Iterative quantization alternates: the codes are the signs of the rotated z; the rotation is the
    one that brings z nearest to the codes, which an SVD gives (orthogonal Procrustes problem).
    """
    for _ in range(ROTATION_PASSES):
        codes = take_signs(z @ rotation)
        left, _, right = torch.linalg.svd(z.T @ codes)
        rotation = left @ right
    return rotation


def fit(
    z: Tensor, frame: Tensor, options: EncoderOptions, generator: torch.Generator, report: Report
) -> tuple[Tensor, Tensor]:
    """Train encoder and decoder on z (N, p), beginning with `frame` (p, bits).

    Returns the encoder's matrix A (p, bits) and its bias (bits,).
    """
    A, bias = frame.clone(), torch.zeros(options.bits)
    B, offset = fit_decoder(z, take_signs(z @ A)), torch.zeros(z.shape[1])
    parameters = [x.requires_grad_() for x in (A, bias, B, offset)]
    adam = torch.optim.Adam(parameters, options.learning_rate)
    for step in range(options.steps):
        adam.param_groups[0]["lr"] = options.learning_rate * (1 - step / options.steps)
        batch = z[torch.randint(len(z), (options.batch_size,), generator=generator)]
        code = binarize(batch @ A + bias)
        loss = F.mse_loss(code @ B + offset, batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            report(step, options.steps, f"autoencoder  loss {loss.item():.4f}")
    return A.detach(), bias.detach()


def fit_decoder(z: Tensor, codes: Tensor) -> Tensor:
    """Find the matrix (bits, p) that reconstructs z (N, p) best from the codes: least squares.

    A small ridge keeps it finite where codes have bits that agree in all images.
    """
    gram = codes.T @ codes
    return torch.linalg.solve(gram + 0.01 * len(z) * torch.eye(len(gram)), codes.T @ z)


def take_signs(x: Tensor) -> Tensor:
    """Return 1 where x is positive, else −1."""
    return torch.where(x > 0, 1.0, -1.0)


def binarize(x: Tensor) -> Tensor:
    """Return the signs of x, with the gradient of tanh: the straight-through estimator."""
    soft = torch.tanh(x)
    return soft + (take_signs(x) - soft).detach()
