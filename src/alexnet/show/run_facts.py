"""What the files of a run say, gathered for its report.

    RUN/best.safetensors, last.safetensors   the network, its recipe, what was measured per epoch
    RUN/environment.json                     machine, versions, the command, where the pack is
    RUN/scores*.json                         errors
    PACK/pack.json, labels.npy               the images
    PACK/skipped.jsonl, duplicates.jsonl     files that were not used, images that are there twice

Only files are read; nothing is computed by the network. A file that is missing or damaged costs its
part of the report and leaves a sentence in `problems`. `report` calls this module, which must not
import anything of training.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet import checkpoint as checkpoints
from alexnet import runs
from alexnet.checkpoint import Checkpoint, Position
from alexnet.evaluation.measured_pack import find_pack_of
from alexnet.evaluation.stored_scores import StoredScores, read_all_scores
from alexnet.packs.pack import Pack, open_pack
from alexnet.recipes.recipe import Recipe
from alexnet.validate import check, parse_json

MOST_LINES = 200
"""Skipped files and duplicates that a report names, at most, of each."""
LONGEST_LINE = 1 << 16
"""Bytes of a line of those lists, at most."""


@dataclass(frozen=True)
class SkippedFile:
    """One line of skipped.jsonl: a file that was not used."""

    split: str
    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Duplicate:
    """One line of duplicates.jsonl: an image whose record is also in an earlier split."""

    split: str
    path: str
    same_split: str
    same_path: str


@dataclass(frozen=True)
class PackFacts:
    """The pack of a run, and the files that it did not use."""

    pack: Pack
    class_counts: dict[str, tuple[int, ...]]
    """For each split, the number of images of each class."""
    reasons: dict[str, int]
    """Number of skipped files, by reason."""
    skipped: tuple[SkippedFile, ...]
    """The first MOST_LINES of them."""
    duplicates: tuple[Duplicate, ...]
    """The first MOST_LINES of them."""


@dataclass(frozen=True)
class RunFacts:
    """All that the files of a run say."""

    run: Path
    checkpoint: Path
    """The file that the network is taken from: best.safetensors, else last.safetensors."""
    sha256: str
    """The hash of that file."""
    trained: Checkpoint
    position: Position
    """How far the training is, with the history of its epochs."""
    environment: dict[str, Any]
    """Of any content, since the file may come from others."""
    scores: tuple[StoredScores, ...]
    pack: PackFacts | None
    problems: tuple[str, ...]
    """What is missing or damaged, in sentences."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that the network was trained by."""
        return self.trained.recipe


def read_run_facts(run: str | Path) -> RunFacts:
    """Read the files of a run, or of the run that a checkpoint file is in.

    Raises FileNotFoundError if there is no checkpoint, ValueError if it is damaged.
    """
    checkpoint = checkpoints.find(run)
    folder = checkpoint.parent
    trained = checkpoints.load(checkpoint)
    scores, problems = read_all_scores(folder)
    pack, pack_problems = _read_pack(checkpoint, trained)
    return RunFacts(
        run=folder,
        checkpoint=checkpoint,
        sha256=_hash_file(checkpoint),
        trained=trained,
        position=_read_newest_position(folder, trained),
        environment=runs.read_environment(folder),
        scores=tuple(scores),
        pack=pack,
        problems=(*problems, *pack_problems),
    )


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_newest_position(folder: Path, trained: Checkpoint) -> Position:
    """Return the position of `last` if that belongs to the same training, else of the network."""
    try:
        last = checkpoints.load_metadata(folder / "last.safetensors")
    except (OSError, ValueError):
        return trained.position
    same = last.classes == trained.classes and last.pack_checksum == trained.pack_checksum
    return last.position if same else trained.position


def _read_pack(checkpoint: Path, trained: Checkpoint) -> tuple[PackFacts | None, list[str]]:
    """Read the pack of the training; return what was read and what could not be."""
    try:
        pack = open_pack(find_pack_of(checkpoint))
        if pack.checksum != trained.pack_checksum:
            return None, [
                f"The pack at {pack.path} is not the one that the network was trained on: its "
                "checksum is another. This report leaves it out."
            ]
        counts = {name: _count_labels(pack, name) for name in pack.splits}
    except (OSError, ValueError) as error:
        return None, [f"The images are not described here, because their pack is missing: {error}"]
    problems: list[str] = []
    skipped = _read_lines(pack.folder / "skipped.jsonl", SkippedFile, problems)
    duplicates = _read_lines(pack.folder / "duplicates.jsonl", Duplicate, problems)
    reasons: Counter[str] = Counter()
    for split in pack.metadata["splits"].values():
        reasons.update(split["skipped"])
    return PackFacts(
        pack, counts, dict(reasons.most_common()), tuple(skipped), tuple(duplicates)
    ), problems


def _count_labels(pack: Pack, split: str) -> tuple[int, ...]:
    counts = [0] * len(pack.classes)
    for label, count in Counter(pack.splits[split].labels.tolist()).items():
        if label >= 0:
            counts[label] = count
    return tuple(counts)


def _read_lines(path: Path, kind: type, problems: list[str]) -> list[Any]:
    """Read the first MOST_LINES objects of a list; a damaged list adds to `problems`."""
    lines: list[Any] = []
    try:
        for number, line in enumerate(_iterate_lines(path), start=1):
            place = f"line {number} of {path}"
            lines.append(check(parse_json(line, place), kind, place))
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} could not be read to its end: {error}")
    return lines


def _iterate_lines(path: Path) -> Iterator[bytes]:
    """Yield the first MOST_LINES lines. Raises ValueError for one that is too long."""
    with path.open("rb") as file:
        for _ in range(MOST_LINES):
            line = file.readline(LONGEST_LINE)
            if not line:
                return
            if len(line) == LONGEST_LINE:
                raise ValueError(f"a line of {path} has {LONGEST_LINE:,} bytes or more")
            yield line
