"""PyTorch's files of weights: tensors by name, from .pth and .safetensors.

A .pth is a pickle, which can run any code when it is opened. `torch.load(weights_only=True)` allows
tensors and containers only, but a hostile file can still ask for memory that it has no bytes for.
So it is opened twice: on the device `meta`, whose tensors have shapes and no memory, and, if these
fit into the file, in truth. `layouts` finds the network in what is returned.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alexnet.sources.names import quote_names

LARGEST_FILE = 1 << 33
"""Bytes of a file, at most; that of torchvision has 244 million."""
WRAPPERS = "state_dict", "model_state_dict", "model"
"""Names under which checkpoints of trainings keep the weights."""
WRAPPED = "module"
"""What `DataParallel` and `DistributedDataParallel` put into the names of the weights."""


def read_pth(path: Path) -> dict[str, Tensor]:
    """Read the weights in a file that `torch.save` wrote: tensors on the CPU, by name.

    It may hold a state dict, or the checkpoint of a training with one in it. Raises OSError if it
    cannot be read, and ValueError if it is not such a file or is damaged.
    """
    size = _check_size(path)
    _check_zip(path, size)
    shapes = _find_state_dict(_load(path, "meta"), path)
    _check_fits(shapes, size, path)
    return _tidy_names(_find_state_dict(_load(path, "cpu"), path), path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file by name.

    Raises OSError if it cannot be read, and ValueError if it is damaged.
    """
    _check_size(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is not a complete .safetensors file ({error}). Download it again"
        ) from error
    return _tidy_names(tensors, path)


def _check_size(path: Path) -> int:
    """Return the size of a file in bytes. Raises ValueError if it is larger than any weights."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size:,} bytes: no file of AlexNet's weights is so large")
    return size


def _check_zip(path: Path, size: int) -> None:
    """Raise ValueError for a zip whose members are larger than the file; torch compresses none."""
    try:
        if not zipfile.is_zipfile(path):  # which raises BadZipFile, too
            return  # the format before PyTorch 1.6, which `torch.load` reads too
        with zipfile.ZipFile(path) as file:
            members = sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError) as error:
        raise _make_error(path, error) from error
    if members > size:
        raise ValueError(f"{path} was not written by torch.save: its members are compressed")


def _load(path: Path, device: str) -> Any:
    """Read what `torch.save` wrote. Raises ValueError for whatever is wrong with the file.

    torch.load raises nearly every kind of exception for damaged files, so all are caught.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the format, which the reader cannot change
            return torch.load(file, map_location=device, weights_only=True)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _make_error(path, error) from error
    except (Exception, MemoryError) as error:
        raise _make_error(path, error) from error


def _make_error(path: Path, error: BaseException) -> ValueError:
    """The error of a file that cannot be read, with the beginning of torch's own words.

    torch's words on objects other than tensors are left out: they advise to open the file anyway.
    """
    words = (str(error) or type(error).__name__).splitlines()[0][:200]
    if isinstance(error, pickle.UnpicklingError):
        words = "it is no pickle, or holds objects other than tensors, which could run any code"
    return ValueError(
        f"{path} is no file of weights that torch.load(weights_only=True) reads ({words}). "
        "Download it again, or save the state_dict() alone"
    )


def _find_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the one in a checkpoint.

    Raises ValueError if there is none.
    """
    for name in ("", *WRAPPERS):
        inner = content.get(name) if name and isinstance(content, dict) else content
        if isinstance(inner, dict):
            tensors = {k: v for k, v in inner.items() if isinstance(k, str) and _is_plain(v)}
            if tensors and len(tensors) == len(inner):
                return tensors
    found = quote_names(map(str, list(content)[:5])) if isinstance(content, dict) else None
    raise ValueError(
        f"{path} holds no weights by name, but {found or f'a {type(content).__name__}'}. Save the "
        "network's state_dict(): torch.save(network.state_dict(), FILE)"
    )


def _is_plain(value: Any) -> bool:
    """Whether a value is a dense tensor, such as weights are."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _check_fits(tensors: dict[str, Tensor], size: int, path: Path) -> None:
    """Raise ValueError if the tensors need more memory than the file has bytes."""
    storages = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in tensors.values()}
    values = sum(x.numel() for x in tensors.values())
    if sum(storages.values()) > size or values > size:
        raise ValueError(f"{path} is damaged: its tensors are larger than the file")


def _tidy_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Remove `module` from names, as features.module.0.weight."""
    tidy = {".".join(p for p in k.split(".") if p != WRAPPED): v for k, v in tensors.items()}
    if len(tidy) != len(tensors):
        raise ValueError(f"{path} holds weights whose names differ in `{WRAPPED}` only")
    return tidy
