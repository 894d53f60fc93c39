"""Cropping as an operator: the interface to augmentation, its checks, and the choice of backend.

`alexnet.batches.augment` calls `crop`. The computation is defined in `reference`. Numba and Triton
are imported only when a kernel runs, never by importing this module.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.kernels.cropping.reference import Crops, Pixels, crop_reference
from alexnet.kernels.runtime.backends import has_kernel
from alexnet.kernels.runtime.layout import as_array


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
    """Return crops of the records at `indices`: (N, 3, size, size), channels_last.

        out[n, :, y, x] = (record[top + y, left + x'] - mean[top + y, left + x'] + shift) * scale

    where x' = size - 1 - x if the crop is mirrored, else x.

    records: uint8, (M, side, side, 3) for "rgb"; (M, side² · 3/2) for "yuv420", which is the Y
        plane, then U and V at half the size (colors are neither rounded nor clipped). A NumPy
        array, possibly memory-mapped, is read on the CPU; a tensor on its own device.
    tops, lefts: (N,), the window in the record.
    mean_tops, mean_lefts: (N,), the window in the mean; by default the same as in the record.
    flips: (N,) bool. shifts: (N, 3). mean: (side, side, 3).
    out: if given, the channels_last tensor to write and return; `dtype` is ignored then.

    Raises ValueError for wrong shapes, dtypes or `pixels` and, on the CPU, for indices or offsets
    out of range. On CUDA indices and offsets are not checked, because that would synchronize with
    the host.
    """
    records = _check_records(records, pixels, side)
    device = torch.device("cpu") if isinstance(records, np.ndarray) else records.device
    mean_tops = tops if mean_tops is None else mean_tops
    mean_lefts = lefts if mean_lefts is None else mean_lefts
    offsets = [_to(device, o, torch.int64) for o in (tops, lefts, mean_tops, mean_lefts)]
    crops = Crops(
        indices=_to(device, indices, torch.int64),
        offsets=torch.stack(offsets, 1),
        flips=_to(device, flips, torch.bool),
        shifts=_to(device, shifts, torch.float32),
        mean=_to(device, mean, torch.float32),
    )
    _check_crops(crops, len(records), size, side)
    out = _check_or_create_out(out, (len(crops.indices), 3, size, size), dtype, device)
    if not has_kernel(device, torch.float32):
        out.copy_(crop_reference(records, crops, scale, size, pixels))
    elif device.type == "cuda":
        from alexnet.kernels.cropping import cuda

        cuda.crop(records, crops, scale, out, pixels)
    else:
        _crop_on_cpu(records, crops, scale, out, pixels)
    return out


def _crop_on_cpu(
    records: np.ndarray | Tensor, crops: Crops, scale: float, out: Tensor, pixels: str
) -> None:
    """Run the Numba kernel; it writes float32 and bf16, so other dtypes are converted."""
    from alexnet.kernels.cropping import cpu
    from alexnet.kernels.runtime import cpu_threads

    kernel = cpu.crop_rgb if pixels == "rgb" else cpu.crop_yuv420
    has_dtype = out.dtype in (torch.float32, torch.bfloat16)
    target = out if has_dtype else torch.empty_like(out, dtype=torch.float32)
    memory = records if isinstance(records, np.ndarray) else records.numpy()
    arrays = Crops._make(tensor.numpy() for tensor in crops)
    cpu_threads.run_on_batch(kernel, len(out), memory, arrays, as_array(target), np.float32(scale))
    if target is not out:
        out.copy_(target)


def _to(device: torch.device, values: Any, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(values, dtype=dtype, device=device).contiguous()


def _check_records(records: Any, pixels: str, side: int) -> Any:
    """Return the records, contiguous. Raises ValueError unless `pixels` and `side` fit them."""
    shape: tuple[int, ...] = (side, side, 3)
    if pixels == "yuv420":
        shape = (side * side * 3 // 2,)
    elif pixels != "rgb":
        raise ValueError(f"pixels must be 'rgb' or 'yuv420', got {pixels!r}")
    if records.shape[1:] != shape or records.dtype not in (np.uint8, torch.uint8):
        raise ValueError(
            f"{pixels} records of side {side} must be uint8 of shape {('M', *shape)}, got "
            f"{records.dtype} of shape {tuple(records.shape)}"
        )
    return (
        np.ascontiguousarray(records) if isinstance(records, np.ndarray) else records.contiguous()
    )


def _check_or_create_out(
    out: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the tensor to write: `out` if it is given and fits, else a new one."""
    layout = torch.channels_last
    if out is None:
        return torch.empty(shape, dtype=dtype, device=device, memory_format=layout)
    if out.shape != shape or out.device != device or not out.is_contiguous(memory_format=layout):
        raise ValueError(
            f"out must be {shape} on {device}, channels_last, got {tuple(out.shape)} on "
            f"{out.device} with strides {out.stride()}"
        )
    return out


def _check_crops(crops: Crops, n_records: int, size: int, side: int) -> None:
    n = len(crops.indices)
    found = [tuple(tensor.shape) for tensor in crops]
    wanted = [(n,), (n, 4), (n,), (n, 3), (side, side, 3)]
    if found != wanted:
        raise ValueError(
            f"indices, offsets, flips, shifts and mean must have the shapes {wanted}, got {found}"
        )
    if crops.indices.device.type == "cpu" and n:
        _check_range("indices of records", crops.indices, n_records)
        _check_range(f"offsets of {size}×{size} crops", crops.offsets, side - size + 1)


def _check_range(name: str, values: Tensor, stop: int) -> None:
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high >= stop:
        raise ValueError(f"{name} must be from 0 to {stop - 1}, got {low if low < 0 else high}")
