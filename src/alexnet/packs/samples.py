"""A few images of a pack, kept in the folder of the run that was trained on it.

With them, an exported network can be compared with the original on real images even if the pack is
no longer available. They are one safetensors file, samples.safetensors:

    records   uint8  (N, *record_shape)   as in the shards of the pack
    labels    int64  (N,)                 indices into the classes of the pack; −1: no label
    metadata "alexnet"                    JSON: `SamplesMetadata`, names escaped

`training.train` writes the file and `exporting.write` reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from alexnet.files import replace_bytes
from alexnet.images.records import Format, record_shape
from alexnet.packs.checked_files import escape
from alexnet.packs.pack import Pack
from alexnet.validate import Range, check, parse_json

NAME = "samples.safetensors"
KEPT = 32
"""Number of images that a run keeps: 6 MB at 256×256 pixels."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Evenly spaced images of a split, with their labels and names."""

    split: str
    size: int
    pixels: Format
    pack_checksum: str
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    """Indices into the classes of the pack, int64 (N,)."""
    records: NDArray[np.uint8]
    """uint8 (N, *record_shape)."""


def space_evenly(number: int, images: int) -> NDArray[np.int64]:
    """Return `number` evenly spaced indices of `images` images, or all if there are fewer."""
    return np.linspace(0, images - 1, min(number, images)).astype(np.int64)


def write_samples(pack: Pack, folder: Path) -> None:
    """Write a few validation images of `pack` into `folder`.

    If the pack has no validation images, its first split is used.
    """
    name = "val" if "val" in pack.splits and len(pack.splits["val"]) else next(iter(pack.splits))
    split = pack.splits[name]
    indices = space_evenly(KEPT, len(split))
    metadata: dict[str, object] = {
        "split": name,
        "size": pack.size,
        "pixels": pack.pixels,
        "pack_checksum": pack.checksum,
        "names": [escape(split.name(index)) for index in indices.tolist()],
    }
    arrays: dict[str, NDArray[Any]] = {
        "records": split.gather(indices),
        "labels": split.labels[indices],
    }
    replace_bytes(folder / NAME, save(arrays, {"alexnet": json.dumps(metadata)}))


@dataclass(frozen=True)
class SamplesMetadata:
    """The JSON in a file of samples: every field of `Samples` that is not an array."""

    split: str
    size: Annotated[int, Range(1, 1 << 20)]
    pixels: Format
    pack_checksum: str
    names: tuple[str, ...]


def read_samples(folder: Path) -> Samples | None:
    """Read the images in the folder of a run; None if it has none.

    Raises ValueError if the file is damaged. Sizes are checked before anything large is read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {}).get("alexnet", "null")
            metadata: SamplesMetadata = check(
                parse_json(text, "its metadata"), SamplesMetadata, "its metadata"
            )
            shape = record_shape(metadata.size, metadata.pixels)
            labels = _read_tensor(file, "labels", "I64", (len(metadata.names),))
            records = _read_tensor(file, "records", "U8", (len(metadata.names), *shape))
        if labels.min(initial=0) < -1:
            raise ValueError(f"a label is {labels.min()}")
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Delete it: without it, an exported file is compared "
            "with its network on the pack (--pack PACK) or on noise"
        ) from error
    return Samples(**vars(metadata), labels=labels, records=records)


def _read_tensor(file: Any, name: str, kind: str, shape: tuple[int, ...]) -> Any:
    """Read one tensor of a safetensors file. Raises ValueError for another type or shape."""
    tensor = file.get_slice(name)  # the header only: the data are read below
    if (actual := (tensor.get_dtype(), *tensor.get_shape())) != (kind, *shape):
        raise ValueError(f"its {name} are {actual}, not {(kind, *shape)}")
    return file.get_tensor(name)
