"""The probabilities that networks give for every image of a split, and the .npz file of them.

`ensemble` computes and averages them; `submission` and `claims` read them. The file is written by
`SplitPredictions.write` (`alexnet evaluate --dump`) and read by `load_predictions`, which checks
everything in it:

    about.npy           JSON text: the fields of `_Metadata`
    names.npy           text (N,)
    labels.npy          int64 (N,)
    probabilities.npy   float32 (N, classes)
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import IO, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.evaluation.counts import Counts, rank_labels
from alexnet.evaluation.scores import Scores, WeightedCheckpoint
from alexnet.files import replace_file
from alexnet.validate import Range, check, parse_json

UNLABELED = -1
IMAGES_PER_COUNT = 4096
"""Images whose errors are counted at a time, so that the ranks need little memory."""
ROUNDING = 1e-3
"""Largest accepted difference between 1 and the sum of the probabilities of an image."""


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """The probabilities of one network, or of several averaged, for every image of a split."""

    members: tuple[WeightedCheckpoint, ...]
    """The networks of the average; often one."""
    pack: str
    pack_checksum: str
    split: str
    views: int
    """Views per image whose probabilities were averaged: 1, 5 or 10."""
    classes: tuple[str, ...]
    """The classes, in the order of the columns of `probabilities`."""
    wordnet_ids: tuple[str, ...] | None
    """The classes' WordNet ids, in the same order, if they have any."""
    left_out: int
    """Images that were left out because the network does not know their class."""
    names: NDArray[np.str_] = field(repr=False)
    """Names of the images in the order of the pack: (N,)."""
    labels: NDArray[np.int64] = field(repr=False)
    """Indices into `classes`, or −1 for an image without a label: int64 (N,)."""
    probabilities: NDArray[np.float32] = field(repr=False)
    """float32 (N, classes)."""

    @property
    def labeled(self) -> bool:
        """Whether every image has a label."""
        return bool((self.labels != UNLABELED).all())

    def scores(self) -> Scores:
        """Count the top-1 and top-5 errors. Raises ValueError if an image has no label."""
        self._check_labeled()
        counts = Counts(len(self.classes))
        batches = zip(
            torch.from_numpy(self.probabilities).split(IMAGES_PER_COUNT),
            torch.from_numpy(self.labels).split(IMAGES_PER_COUNT),
            strict=True,
        )
        for probabilities, labels in batches:
            counts.add(probabilities, labels)
        return Scores(
            members=self.members,
            pack=Path(self.pack),
            pack_checksum=self.pack_checksum,
            split=self.split,
            views=self.views,
            classes=self.classes,
            counts=counts,
            left_out=self.left_out,
        )

    def ranks(self) -> NDArray[np.int64]:
        """Rank the label of each image (`counts.rank_labels`): int64 (N,).

        Raises ValueError if an image has no label.
        """
        self._check_labeled()
        labels = torch.from_numpy(self.labels)
        return rank_labels(torch.from_numpy(self.probabilities), labels).numpy()

    def _check_labeled(self) -> None:
        if not self.labeled:
            raise ValueError(
                f"some {self.split} images of {self.pack} have no label to compare with. Write "
                "the networks' predictions instead: --submission FILE, or --dump FILE.npz"
            )

    def write(self, path: Path) -> None:
        """Write the predictions as an .npz file for `load_predictions`, atomically."""
        facts = {k: v for k, v in vars(self).items() if not isinstance(v, np.ndarray)}
        facts["members"] = [asdict(member) for member in self.members]
        arrays: dict[str, Any] = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}

        def save(draft: Path) -> None:
            with draft.open("wb") as file:
                np.savez(file, about=np.array(json.dumps(facts)), **arrays)

        replace_file(path, save)


def load_predictions(path: Path) -> SplitPredictions:
    """Read a file that `SplitPredictions.write` wrote.

    Raises ValueError if it is another file or damaged, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        file.read(1)  # raises OSError for a folder or a failing disk: neither is a damaged file
        try:
            return _read(file)
        except (*DAMAGE, ValueError, KeyError, OSError, RuntimeError) as error:
            raise ValueError(
                f"{path} holds no predictions ({error}). Make it: alexnet evaluate RUN --dump "
                f"{path}"
            ) from error


def _read(file: IO[bytes]) -> SplitPredictions:
    with zipfile.ZipFile(file) as archive:
        text = str(_read_array(archive, "about"))
        arrays: dict[str, Any] = {name: _read_array(archive, name) for name in ARRAYS}
    metadata: _Metadata = check(parse_json(text, "about"), _Metadata, "about")
    predictions = SplitPredictions(**vars(metadata), **arrays)
    _check_arrays(predictions)
    return predictions


@dataclass(frozen=True)
class _Metadata:
    """The fields of SplitPredictions that are not arrays, with the limits that `check` enforces."""

    members: tuple[WeightedCheckpoint, ...]
    pack: str
    pack_checksum: str
    split: str
    views: Annotated[int, Range(1)]
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    left_out: Annotated[int, Range(0)]

    def __post_init__(self) -> None:
        """Raise ValueError for two classes of the same name, and for a wrong number of ids."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids is not None and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


ARRAYS = "names", "labels", "probabilities"
DAMAGE = (
    *(zipfile.BadZipFile, EOFError, OverflowError, struct.error, zlib.error),
    *(TokenError, SyntaxError),
)
"""What zipfile and NumPy raise for damaged files, besides ValueError, KeyError and OSError."""


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array that `np.savez` stored.

    Raises ValueError for a damaged one. A damaged header cannot make this function allocate more
    memory than the file has bytes, and pickled objects are never loaded.
    """
    stored = archive.getinfo(f"{name}.npy")
    if stored.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, but `alexnet evaluate --dump` never compresses")
    with archive.open(stored) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has a header of an unknown version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        size = stored.file_size - file.tell()
        if dtype.hasobject or is_fortran or math.prod(shape) * dtype.itemsize != size:
            raise ValueError(
                f"the header of {name} says {dtype} {shape}, but there are {size:,} bytes"
            )
        array = np.frombuffer(bytearray(file.read()), dtype).reshape(shape)
    if dtype.kind == "U" and array.size and array[..., None].view(np.uint32).max() > 0x10FFFF:
        raise ValueError(f"{name} holds characters beyond the range of Unicode")
    return array


def _check_arrays(predictions: SplitPredictions) -> None:
    """Raise ValueError unless the arrays have the right types, shapes and ranges."""
    if not predictions.members or not predictions.classes:
        raise ValueError(
            f"{len(predictions.members)} networks and {len(predictions.classes)} classes"
        )
    names, labels, likely = predictions.names, predictions.labels, predictions.probabilities
    if names.dtype.kind != "U" or names.ndim != 1 or len(np.unique(names)) != len(names):
        raise ValueError(f"names are {names.dtype} {names.shape}, not one text per image")
    if labels.dtype != np.int64 or labels.shape != names.shape:
        raise ValueError(f"labels are {labels.dtype} {labels.shape} for {len(names)} images")
    if len(labels) and not UNLABELED <= labels.min() <= labels.max() < len(predictions.classes):
        raise ValueError(
            f"labels are from {labels.min()} to {labels.max()}, but there are "
            f"{len(predictions.classes)} classes"
        )
    if likely.dtype != np.float32 or likely.shape != (len(names), len(predictions.classes)):
        raise ValueError(f"probabilities are {likely.dtype} {likely.shape}")
    if not bool(((likely >= 0) & (likely <= 1 + ROUNDING)).all()):  # false for NaN, too
        raise ValueError("some probabilities are not between 0 and 1")
    if len(names) and not float(np.abs(likely.sum(1, dtype=np.float64) - 1).max()) <= ROUNDING:
        raise ValueError("the probabilities of some image do not add up to 1")
