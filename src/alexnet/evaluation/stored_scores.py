"""Scores read back: the files `scores*.json` in a run's folder, checked.

`evaluation.scores` writes them. `read_all_scores` is called by the report and by the model card of
an exported network. Only JSON is read; no network and no pack is opened. This module must not
import `scores`, which needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from alexnet.validate import NOT_FINITE, Range, check, read_json

LARGEST = 1 << 26
"""Bytes of a file of scores, at most; with a million classes it is smaller than this."""
Count = Annotated[int, Range(0, 1 << 53)]


@dataclass(frozen=True)
class ClassCounts:
    """The counts of one class, or of all: images, and errors among them."""

    seen: Count
    wrong1: Count
    """Images whose most probable class is not their label."""
    wrong5: Count
    """Images whose label is not among the five most probable classes."""

    def __post_init__(self) -> None:
        """Raise ValueError for counts that no evaluation gives."""
        if not self.wrong5 <= self.wrong1 <= self.seen:
            raise ValueError(
                f"of {self.seen} images, {self.wrong1} are wrong and {self.wrong5} of these also "
                "among the first five"
            )

    @property
    def top1_error(self) -> float | None:
        """The share of images that are wrong, from 0 to 1; None if there are no images."""
        return self.wrong1 / self.seen if self.seen else None

    @property
    def top5_error(self) -> float | None:
        """The same for the first five classes."""
        return self.wrong5 / self.seen if self.seen else None


@dataclass(frozen=True)
class MeasuredFile:
    """A file that was measured, or measured on: its path then, and what identifies it."""

    path: str
    sha256: str = ""
    """Of a checkpoint: the hash of the file."""
    checksum: str = ""
    """Of a pack: its checksum."""
    weight: float = 1.0
    """Of one of several networks: its share of the averaged probabilities."""


@dataclass(frozen=True)
class StoredScores:
    """The content of one file of scores."""

    seen: Count
    wrong1: Count
    wrong5: Count
    loss: Annotated[float, NOT_FINITE]
    """Mean cross-entropy, nats per image."""
    split: str
    views: Count
    pack: MeasuredFile
    per_class: dict[str, ClassCounts]
    left_out: Count = 0
    """Images of classes that the network does not know."""
    checkpoint: MeasuredFile | None = None
    """The network that was measured; None for an average of several."""
    file: Path = field(default=Path(), init=False)
    """Where this was read."""

    def __post_init__(self) -> None:
        """Raise ValueError if there are no images, or if the classes do not add up to the whole."""
        if not self.seen:
            raise ValueError("no image was measured")
        for name in ("seen", "wrong1", "wrong5"):
            if (total := sum(getattr(x, name) for x in self.per_class.values())) != getattr(
                self, name
            ):
                raise ValueError(f"`{name}` is {getattr(self, name)}, and {total} in all classes")

    @property
    def counts(self) -> ClassCounts:
        """The counts of all classes together."""
        return ClassCounts(self.seen, self.wrong1, self.wrong5)


def read_scores(path: Path) -> StoredScores:
    """Read one file of scores. Entries that this version does not know are left out.

    Raises OSError if it cannot be read, ValueError, naming the file and the entry, for a file that
    `alexnet evaluate` has not written.
    """
    content = read_json(path, LARGEST)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no scores. Measure again: alexnet evaluate RUN")
    kept = {x.name: content[x.name] for x in fields(StoredScores) if x.init and x.name in content}
    for name in ("pack", "checkpoint"):
        if isinstance(kept.get(name), dict):
            kept[name] = _select_known(kept[name])
    scores: StoredScores = check(kept, StoredScores, str(path))
    object.__setattr__(scores, "file", path)
    return scores


def read_all_scores(run: Path) -> tuple[list[StoredScores], list[str]]:
    """Read every file of scores in a run's folder.

    Returns the scores in order, those of `scores.json` first, and a sentence about each file that
    is damaged.
    """
    scores, problems = [], []
    for path in sorted(
        run.glob("scores*.json"), key=lambda path: (path.name != "scores.json", path)
    ):
        try:
            scores.append(read_scores(path))
        except (OSError, ValueError) as error:
            problems.append(str(error))
    return scores, problems


def _select_known(entry: dict[str, Any]) -> dict[str, Any]:
    known = {x.name for x in fields(MeasuredFile)}
    return {name: value for name, value in entry.items() if name in known}
