"""Several networks as one: their probabilities kept, averaged, and weighed (sections 4.1 and 6)."""

from __future__ import annotations

import itertools
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tokenize import TokenError
from typing import IO, Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet import device as devices
from alexnet.batches.views import iterate_views as views_of
from alexnet.evaluation.counts import VIEWS_AT_ONCE, Counts, answers, ranks_of
from alexnet.evaluation.scores import Member, Scores, opened, relabeling
from alexnet.files import replace_file
from alexnet.validate import Range, check, parse_json

UNLABELED = -1
AT_ONCE = 4096
WEIGHTS = 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0
"""What `search` tries for one network, in weights of the others at its start."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one network, or several averaged, say of every image of a split."""

    members: tuple[Member, ...]
    pack: str
    pack_checksum: str
    split: str
    views: int
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    left_out: int
    """Images of classes that the network does not know."""
    names: NDArray[np.str_] = field(repr=False)
    """N, in the order of the pack."""
    labels: NDArray[np.int64] = field(repr=False)
    """N, among `classes`; −1 for an image without a label."""
    probabilities: NDArray[np.float32] = field(repr=False)
    """N classes."""

    @property
    def labeled(self) -> bool:
        """Whether every image has a label to compare with."""
        return bool((self.labels != UNLABELED).all())

    def scores(self) -> Scores:
        """Count the errors. Raises ValueError where there are no labels."""
        if not self.labeled:
            raise ValueError(
                f"some {self.split} images of {self.pack} have no label to compare with. Write "
                "what the networks say of them: --submission FILE, or --dump FILE.npz"
            )
        counts = Counts(len(self.classes))
        likely, labels = torch.from_numpy(self.probabilities), torch.from_numpy(self.labels)
        for some, right in zip(likely.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
            counts.add(some, right)
        facts = self.members, Path(self.pack), self.pack_checksum, self.split, self.views
        return Scores(*facts, self.classes, counts, self.left_out)

    def write(self, path: Path) -> None:
        """Write it as an .npz file that `read` reads, whole or not at all."""
        facts = {k: v for k, v in vars(self).items() if not isinstance(v, np.ndarray)}
        facts["members"] = [asdict(member) for member in self.members]
        arrays: dict[str, Any] = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}

        def save(draft: Path) -> None:
            with draft.open("wb") as file:
                np.savez(file, about=np.array(json.dumps(facts)), **arrays)

        replace_file(path, save)


def read(path: Path) -> Predictions:
    """Read a file that `Predictions.write` wrote.

    Raises ValueError for another, OSError for one that cannot be read.
    """
    with path.open("rb") as file:
        file.read(1)  # a folder, and a disk that gives nothing back, are no damage
        try:
            return _read(file)
        except (*DAMAGE, ValueError, KeyError, OSError, RuntimeError) as error:
            raise ValueError(
                f"{path} holds no predictions ({error}). Make it: alexnet evaluate RUN --dump "
                f"{path}"
            ) from error


def _read(file: IO[bytes]) -> Predictions:
    with zipfile.ZipFile(file) as archive:
        text = str(_read_array(archive, "about"))
        arrays: dict[str, Any] = {name: _read_array(archive, name) for name in ARRAYS}
    about: _About = check(parse_json(text, "about"), _About, "about")
    found = Predictions(**vars(about), **arrays)
    _check_arrays(found)
    return found


@dataclass(frozen=True)
class _About:
    """What stands draft the arrays of such a file."""

    members: tuple[Member, ...]
    pack: str
    pack_checksum: str
    split: str
    views: Annotated[int, Range(1)]
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    left_out: Annotated[int, Range(0)]

    def __post_init__(self) -> None:
        """Raise ValueError for classes that cannot be told apart."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids is not None and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


ARRAYS = "names", "labels", "probabilities"
DAMAGE = (
    *(zipfile.BadZipFile, EOFError, OverflowError, struct.error, zlib.error),
    *(TokenError, SyntaxError),
)
"""What zipfile and NumPy raise at damaged files, drafts the usual."""


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array that NumPy stored, no larger than the file that it is in. Raises ValueError."""
    stored = archive.getinfo(f"{name}.npy")
    if stored.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which such files never are")
    with archive.open(stored) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has a header of an unknown version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        size = stored.file_size - file.tell()
        if dtype.hasobject or is_fortran or math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} says that it is {dtype} {shape}, and has {size:,} bytes")
        array = np.frombuffer(bytearray(file.read()), dtype).reshape(shape)
    if dtype.kind == "U" and array.size and array[..., None].view(np.uint32).max() > 0x10FFFF:
        raise ValueError(f"{name} are texts with characters that there are not")
    return array


def _check_arrays(found: Predictions) -> None:
    """Raise ValueError unless the arrays go together and are what they should be."""
    if not found.members or not found.classes:
        raise ValueError(f"{len(found.members)} networks and {len(found.classes)} classes")
    names, labels, likely = found.names, found.labels, found.probabilities
    if names.dtype.kind != "U" or names.ndim != 1 or len(np.unique(names)) != len(names):
        raise ValueError(f"names are {names.dtype} {names.shape}, not one text per image")
    if labels.dtype != np.int64 or labels.shape != names.shape:
        raise ValueError(f"labels are {labels.dtype} {labels.shape} for {len(names)} images")
    if len(labels) and not UNLABELED <= labels.min() <= labels.max() < len(found.classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, of no class")
    if likely.dtype != np.float32 or likely.shape != (len(names), len(found.classes)):
        raise ValueError(f"probabilities are {likely.dtype} {likely.shape}")
    if not bool(((likely >= 0) & (likely <= 1 + ROUNDING)).all()):  # a NaN is neither
        raise ValueError("probabilities that are not between 0 and 1")
    if len(names) and not float(np.abs(likely.sum(1, dtype=np.float64) - 1).max()) <= ROUNDING:
        raise ValueError("probabilities of an image that do not add up to 1")


ROUNDING = 1e-3
"""By how much the probabilities of an image may miss 1 in all."""


@torch.inference_mode()
def predict(
    run: str | Path,
    pack: str | Path | None = None,
    *,
    split: str = "val",
    views: int = 1,
    device: str = "auto",
    ignore_unknown: bool = False,
    batch_size: int = VIEWS_AT_ONCE,
) -> Predictions:
    """What the network of a run says of every image of a split, labeled or not.

    Raises what `scores.measure` raises, but takes images without labels.
    """
    path, trained, images = opened(run, pack, split)
    here, machine = images.splits[split], devices.machine(device)
    known = np.append(relabeling(trained, images, split, ignore_unknown, unlabeled=True), UNLABELED)
    labels = known[here.labels]  # a label of −1 is the last of `known`
    members = np.flatnonzero((labels >= 0) | (here.labels < 0))
    preprocessing, size = (
        trained.preprocessing_for(images).to(machine.device),
        max(1, batch_size // views),
    )
    batches = views_of(
        here, labels, members, preprocessing, machine.device, n_views=views, batch_size=size
    )
    network = devices.place(trained.network(), machine)
    likely = [found.cpu() for found, _ in answers(network, batches, machine, views)]
    return Predictions(
        members=(Member.of(path),),
        pack=str(images.path),
        pack_checksum=images.checksum,
        split=split,
        views=views,
        classes=trained.classes,
        wordnet_ids=trained.wordnet_ids,
        left_out=len(here) - len(members),
        names=np.array(here.names, np.str_)[members],
        labels=labels[members],
        probabilities=torch.cat(likely or [torch.empty(0, len(trained.classes))]).numpy(),
    )


def average(some: Sequence[Predictions], weights: Sequence[float] = ()) -> Predictions:
    """The weighted mean of probabilities; without weights, the plain one.

    Raises ValueError for predictions of other images or other classes, and for weights that are
    not one each, not negative, and not all 0.
    """
    first, weights = some[0], list(weights) or [1.0] * len(some)
    if len(weights) != len(some) or min(weights) < 0 or sum(weights) == 0:
        raise ValueError(f"{len(some)} networks need as many weights, of 0 or more, not {weights}")
    aligned = [_in_order_of(first, other) for other in some]
    shares = [weight / sum(weights) for weight in weights]
    total = np.zeros_like(first.probabilities)
    for share, one in zip(shares, aligned, strict=True):
        total += np.float32(share) * one
    members = (
        replace(member, weight=member.weight * share)
        for one, share in zip(some, shares, strict=True)
        for member in one.members
    )
    return replace(first, members=tuple(members), probabilities=total)


def search(some: Sequence[Predictions]) -> tuple[float, ...]:
    """Weights with fewer top-5 errors (then top-1) than equal ones, one coordinate at a time.

    They suit the images they were found on, so those tell too little of the error with them.
    Raises ValueError where images have no labels.
    """
    if not some[0].labeled:
        raise ValueError(f"weights are found on labeled images, and some of {some[0].pack} are not")
    likely = [torch.from_numpy(_in_order_of(some[0], one)) for one in some]
    labels = torch.from_numpy(some[0].labels)
    weights, before = [1.0] * len(some), None
    best = _errors(likely, weights, labels)
    while before != weights:
        before = list(weights)
        for i, weight in itertools.product(range(len(some)), WEIGHTS):
            trial = [*weights[:i], weight, *weights[i + 1 :]]
            if any(trial) and (errors := _errors(likely, trial, labels)) < best:
                best, weights = errors, trial
    return tuple(weights)


def _errors(likely: list[Tensor], weights: list[float], labels: Tensor) -> tuple[int, int]:
    """How many are wrong at 5 and at 1."""
    total = torch.zeros_like(likely[0])
    for weight, one in zip(weights, likely, strict=True):
        total.add_(one, alpha=weight)
    ranks = ranks_of(total, labels)
    return int((ranks >= 5).sum()), int((ranks >= 1).sum())


def _in_order_of(first: Predictions, other: Predictions) -> NDArray[np.float32]:
    """Its probabilities, the classes in the order of `first`."""
    if other.views != first.views or not np.array_equal(other.names, first.names):
        raise ValueError(
            f"predictions of {other.members[0].checkpoint} ({len(other.names):,} images of "
            f"{other.pack}, {other.views} views) are not of the images and views of "
            f"{first.members[0].checkpoint} ({len(first.names):,} of {first.pack}, {first.views})"
        )
    if set(other.classes) != set(first.classes):
        raise ValueError(
            f"{other.members[0].checkpoint} and {first.members[0].checkpoint} know other classes"
        )
    place = {name: i for i, name in enumerate(other.classes)}
    return other.probabilities[:, [place[name] for name in first.classes]]
