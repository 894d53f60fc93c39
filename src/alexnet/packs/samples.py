"""A few images of a pack kept in the run that was trained on it.

So that what was trained can be tried on real images where the pack is not: an exported file is
compared with its network on them. One safetensors file: records, labels, and the rest as JSON.
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
from alexnet.packs.pack import Pack, escape
from alexnet.validate import Range, check, parse_json

NAME = "samples.safetensors"
KEPT = 32
"""Images that a run keeps: 6 MB of 256×256 pixels."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Images evenly spread over a split, their labels and their names."""

    split: str
    size: int
    pixels: Format
    pack_checksum: str
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    """N indices into the classes of the pack."""
    records: NDArray[np.uint8]
    """N record…"""


def spread(number: int, images: int) -> NDArray[np.int64]:
    """So many places, evenly spread over those of so many images; all if there are fewer."""
    return np.linspace(0, images - 1, min(number, images)).astype(np.int64)


def write_samples(pack: Pack, folder: Path) -> None:
    """Keep a few validation images, or what there is, of `pack` in `folder`."""
    name = "val" if "val" in pack.splits and len(pack.splits["val"]) else next(iter(pack.splits))
    split = pack.splits[name]
    places = spread(KEPT, len(split))
    about: dict[str, object] = {
        "split": name,
        "size": pack.size,
        "pixels": pack.pixels,
        "pack_checksum": pack.checksum,
        "names": [escape(split.name(place)) for place in places.tolist()],
    }
    arrays: dict[str, NDArray[Any]] = {
        "records": split.gather(places),
        "labels": split.labels[places],
    }
    replace_bytes(folder / NAME, save(arrays, {"alexnet": json.dumps(about)}))


@dataclass(frozen=True)
class About:
    """What a file of samples holds as JSON."""

    split: str
    size: Annotated[int, Range(1, 1 << 20)]
    pixels: Format
    pack_checksum: str
    names: tuple[str, ...]


def read_samples(folder: Path) -> Samples | None:
    """The images that a run's folder keeps, if it does. Raises ValueError for a damaged file."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {}).get("alexnet", "null")
            about: About = check(parse_json(text, "its metadata"), About, "its metadata")
            shape = record_shape(about.size, about.pixels)
            labels = _tensor(file, "labels", "I64", (len(about.names),))
            records = _tensor(file, "records", "U8", (len(about.names), *shape))
        if labels.min(initial=0) < -1:
            raise ValueError(f"a label is {labels.min()}")
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Delete it: without it, an exported file is compared "
            "with its network on the pack (--pack PACK) or on noise"
        ) from error
    return Samples(**vars(about), labels=labels, records=records)


def _tensor(file: Any, name: str, kind: str, shape: tuple[int, ...]) -> Any:
    """A tensor of a safetensors file, if it is what it should be; nothing else is read."""
    there = file.get_slice(name)
    if (found := (there.get_dtype(), *there.get_shape())) != (kind, *shape):
        raise ValueError(f"its {name} are {found}, wanted {(kind, *shape)}")
    return file.get_tensor(name)
