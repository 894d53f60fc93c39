"""Crops of packed images as the floats a network wants: cut, mirrored, minus the mean, shifted.

The formula takes whole batches by index, in plain PyTorch; the kernels must give what it gives.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import as_array

Pixels = Literal["rgb", "yuv420"]

RED_OF_V, GREEN_OF_U, GREEN_OF_V, BLUE_OF_U = 1.402, -0.344136286, -0.714136286, 1.772
"""JPEG's full-range YUV: R = Y + 1.402 (V - 128), and so on."""


class Cut(NamedTuple):
    """What to take from which records, all on one device."""

    chosen: Tensor
    """N int64: records."""
    places: Tensor
    """N 4 int64: top and left of the crop, top and left of its mean."""
    flips: Tensor
    """N bool."""
    shifts: Tensor
    """N 3 float32: added to red, green and blue."""
    mean: Tensor
    """side side 3 float32."""


def crop(
    records: np.ndarray | Tensor,
    indices: Any,
    *,
    size: int,
    tops: Any,
    lefts: Any,
    flips: Any,
    shifts: Any,
    scale: float,
    mean: Any,
    mean_tops: Any = None,
    mean_lefts: Any = None,
    pixels: Pixels = "rgb",
    side: int,
    out: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Crops of the records at `indices`: N 3 size size, channels_last, on their device.

        out[:, y, x] = (record[top + y, left + x'] - mean[top + y, left + x'] + shift) * scale

    where x' = size - 1 - x if the image is mirrored. The mean is cut at `mean_tops`, `mean_lefts`
    if they are given. `out`, if given, is what is written and returned.

    records: uint8, M side side 3, or for "yuv420" M side*side*3//2 (the Y plane, then U and V at
    half size; colors are neither rounded nor clipped). An array, also a memory-mapped one, is read
    on the CPU. tops, lefts, flips: N; shifts: N 3; mean: side side 3.
    Raises ValueError for what does not fit; on CUDA offsets are trusted, nothing waits for them.
    """
    records = _shaped(records, pixels, side)
    device = torch.device("cpu") if isinstance(records, np.ndarray) else records.device
    middle = tops if mean_tops is None else mean_tops, lefts if mean_lefts is None else mean_lefts
    places = [_tensor(place, device, torch.int64) for place in (tops, lefts, *middle)]
    cut = Cut(
        _tensor(indices, device, torch.int64),
        torch.stack(places, 1),
        _tensor(flips, device, torch.bool),
        _tensor(shifts, device),
        _tensor(mean, device),
    )
    _check(cut, len(records), size, side)
    out = _buffer(out, (len(cut.chosen), 3, size, size), dtype, device)
    if not has_kernel(device, torch.float32):
        out.copy_(crop_formula(records, cut, scale, size, pixels))
    elif device.type == "cuda":
        from alexnet.kernels.cropping import cuda as cuda_crop

        cuda_crop.crop(records, *cut, scale, out, pixels)
    else:
        _on_cpu(records, cut, scale, out, pixels)
    return out


def crop_formula(records: Any, cut: Cut, scale: float, size: int, pixels: str) -> Tensor:
    """What `crop` computes, in plain PyTorch: N 3 size size."""
    images = rgb(_records_at(records, cut.chosen), len(cut.mean), pixels)
    along = torch.arange(size, device=images.device)
    across = torch.where(cut.flips[:, None], size - 1 - along, along)
    tops, lefts, mean_tops, mean_lefts = cut.places.T[:, :, None]
    every = torch.arange(len(images), device=images.device)[:, None, None]
    colors = images[every, (tops + along)[:, :, None], (lefts + across)[:, None, :]]
    mean = cut.mean[(mean_tops + along)[:, :, None], (mean_lefts + across)[:, None, :]]
    return ((colors - mean + cut.shifts[:, None, None, :]) * scale).permute(0, 3, 1, 2)


def rgb(records: Tensor, side: int, pixels: str) -> Tensor:
    """Records as colors: uint8 N side side 3, or N side*side*3//2 → float32 N side side 3."""
    if pixels == "rgb":
        return records.float()
    area, half = side * side, side // 2
    y = records[:, :area].float().view(-1, side, side)
    u, v = (records[:, area:].float() - 128).view(-1, 2, half, half).unbind(1)
    u, v = (plane.repeat_interleave(2, 1).repeat_interleave(2, 2) for plane in (u, v))
    colors = y + RED_OF_V * v, y + GREEN_OF_U * u + GREEN_OF_V * v, y + BLUE_OF_U * u
    return torch.stack(colors, -1)


def _on_cpu(records: Any, cut: Cut, scale: float, out: Tensor, pixels: str) -> None:
    from alexnet.kernels.cropping import cpu as cpu_crop
    from alexnet.kernels.runtime import cpu_threads

    kernel = cpu_crop.from_rgb if pixels == "rgb" else cpu_crop.from_yuv
    written = out.dtype in (torch.float32, torch.bfloat16)
    floats = out if written else torch.empty_like(out, dtype=torch.float32)
    memory = records if isinstance(records, np.ndarray) else records.numpy()
    arrays = memory, *(tensor.numpy() for tensor in cut), as_array(floats)
    cpu_threads.run_on_batch(kernel, len(out), *arrays, np.float32(scale))
    if floats is not out:
        out.copy_(floats)


def _records_at(records: Any, chosen: Tensor) -> Tensor:
    if isinstance(records, np.ndarray):
        return torch.from_numpy(records[chosen.numpy()])
    return records[chosen]


def _tensor(values: Any, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.as_tensor(values, dtype=dtype, device=device).contiguous()


def _shaped(records: Any, pixels: str, side: int) -> Any:
    """The records, if they have the shape that `pixels` and `side` promise."""
    shape: tuple[int, ...] = (side, side, 3)
    if pixels == "yuv420":
        shape = (side * side * 3 // 2,)
    elif pixels != "rgb":
        raise ValueError(f"pixels is {pixels!r}, and must be 'rgb' or 'yuv420'")
    if records.shape[1:] != shape or records.dtype not in (np.uint8, torch.uint8):
        raise ValueError(
            f"records are {records.dtype} of shape {tuple(records.shape)}; {pixels} records of "
            f"side {side} are uint8 of shape {('M', *shape)}"
        )
    return (
        np.ascontiguousarray(records) if isinstance(records, np.ndarray) else records.contiguous()
    )


def _buffer(
    out: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The tensor to write: the one given, if it fits."""
    layout = torch.channels_last
    if out is None:
        return torch.empty(shape, dtype=dtype, device=device, memory_format=layout)
    if out.shape != shape or out.device != device or not out.is_contiguous(memory_format=layout):
        raise ValueError(
            f"out is {tuple(out.shape)} on {out.device} with strides {out.stride()}, and must be "
            f"{shape} on {device}, channels_last"
        )
    return out


def _check(cut: Cut, records: int, size: int, side: int) -> None:
    n = len(cut.chosen)
    found = [tuple(tensor.shape) for tensor in cut]
    wanted = [(n,), (n, 4), (n,), (n, 3), (side, side, 3)]
    if found != wanted:
        raise ValueError(
            f"indices, offsets, flips, shifts and mean are of shapes {found}, and must be {wanted}"
        )
    if cut.chosen.device.type == "cpu" and n:
        _check_inside("index", cut.chosen, records)
        _check_inside(f"offset of a {size}×{size} crop", cut.places, side - size + 1)


def _check_inside(name: str, values: Tensor, end: int) -> None:
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high >= end:
        raise ValueError(f"an {name} is {low if low < 0 else high}, and must be 0 … {end - 1}")
