"""Computes the features of an index and writes its files, so that a kill costs little.

    pack ─ gather ─▶ records ─ Classifier.run_layer ─▶ features ─▶ features-00000.npy, …

The images of each split go through the network in batches of the size that evaluation and
prediction use, so the features are those of `Classifier.features` for the same batch, bit for bit
(in float16, rounded).

If the process is killed at any moment, the next one goes on after the last complete shard and ends
with the same bytes. The order of writing sees to that: a shard is written whole (`alexnet.files`),
then the journal, features.json, lists it; index.json is written when everything else is there, and
the journal is removed. Called by `build` only, which has locked the folder.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.batches.transfer import prefetch
from alexnet.evaluation.counts import VIEWS_PER_BATCH
from alexnet.files import replace_bytes, replace_file, replace_json
from alexnet.packing.shards import write_array
from alexnet.packs.checked_files import crc32, escape
from alexnet.packs.pack import Pack, Split
from alexnet.packs.schema import DIGEST, ShardMetadata, compute_digest
from alexnet.predict import Classifier
from alexnet.search.schema import (
    LARGEST,
    FeatureType,
    IndexOrigin,
    check_shards,
    describe_index,
    name_shard,
)
from alexnet.validate import check, read_json

JOURNAL = "features.json"
SHARD_BYTES = 1 << 26
"""Approximate size of a shard of features: 64 MiB, some seconds of work. A kill loses at most the
work on one shard."""
TYPES: dict[FeatureType, torch.dtype] = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class FeatureProgress:
    """The progress of making an index at one moment."""

    done: int
    """Images whose features are computed, in all calls."""
    total: int
    images_per_second: float
    """The rate of this call, since its first batch; 0 before the second one."""
    seconds_left: float | None
    """Estimated; None before the second batch."""


@dataclass
class IndexJournal:
    """The content of features.json: what is being made, and the shards that are complete."""

    origin: IndexOrigin
    shards: list[ShardMetadata]
    metadata_sha256: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for shards that do not follow each other."""
        check_shards(self.shards, self.origin.splits)

    def save(self, folder: Path) -> None:
        """Replace features.json, flushed to the disk."""
        content = {"origin": asdict(self.origin), "shards": [asdict(x) for x in self.shards]}
        replace_json(folder / JOURNAL, {**content, DIGEST: compute_digest(content)}, indent=1)


def read_journal(folder: Path) -> IndexJournal | None:
    """Read features.json; None if the folder has none. Raises ValueError if it is damaged."""
    path = folder / JOURNAL
    try:
        raw = read_json(path, LARGEST)
        journal: IndexJournal = check(raw, IndexJournal, str(path))
        if journal.metadata_sha256 != compute_digest(raw):
            raise ValueError(f"{path} was changed: it does not agree with its {DIGEST}")
        return journal
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{error}. The journal is damaged: delete {folder}, and begin anew"
        ) from error


class IndexWriter:
    """Writes the files of an index that its journal does not list yet."""

    def __init__(
        self,
        folder: Path,
        journal: IndexJournal,
        classifier: Classifier,
        pack: Pack,
        progress: Callable[[FeatureProgress], None] | None,
    ) -> None:
        self.folder, self.journal, self.origin = folder, journal, journal.origin
        self.classifier, self.pack, self.report = classifier, pack, progress
        self._done = sum(shard.images for shard in journal.shards)
        self._done_at_start, self._start = self._done, 0.0
        """When the first batch of this call was done, and `_done` then. That batch is not counted
        in the rate: kernels are compiled during it."""

    def write(self) -> None:
        """Write the missing shards, then the labels, the names and index.json."""
        for number, (split, begin, end) in enumerate(self._plan_shards()):
            if number >= len(self.journal.shards):
                self._write_shard(number, self._compute_features(split, begin, end))
        splits = [self.pack.splits[part.name] for part in self.origin.splits]
        labels = np.concatenate([split.labels for split in splits])
        replace_file(self.folder / "labels.npy", lambda draft: write_array(draft, labels))
        lines = (f"{escape(name)}\n".encode() for split in splits for name in split.names)
        replace_bytes(self.folder / "names.txt", b"".join(lines))
        crcs = (crc32(self.folder / name) for name in ("labels.npy", "names.txt"))
        content = describe_index(self.origin, self.journal.shards, *crcs)
        replace_json(self.folder / "index.json", content, indent=1)
        (self.folder / JOURNAL).unlink()

    def _plan_shards(self) -> Iterator[tuple[Split, int, int]]:
        """Yield, for each shard, a split and its images from `begin` to `end`.

        A shard has a whole number of batches, except the last one of a split, so that the batches
        are the same after a resumption.
        """
        row_bytes = self.origin.dimensions * TYPES[self.origin.dtype].itemsize
        size = max(1, SHARD_BYTES // row_bytes // VIEWS_PER_BATCH) * VIEWS_PER_BATCH
        for part in self.origin.splits:
            for begin in range(0, part.images, size):
                yield self.pack.splits[part.name], begin, min(begin + size, part.images)

    def _compute_features(self, split: Split, begin: int, end: int) -> NDArray[Any]:
        """Compute the features of some images of a split, in the type of the index: (n, D).

        Raises ValueError if they are not finite in that type.
        """
        parts = []
        for batch in self._iterate_batches(split, begin, end):
            features = self.classifier.run_layer(batch, self.origin.layer).flatten(1)
            stored = features.to(TYPES[self.origin.dtype])
            if not stored.isfinite().all():
                raise self._make_error(features)
            parts.append(stored.numpy())
            self._done += len(batch)
            self._report_progress()
        return np.concatenate(parts)

    def _iterate_batches(self, split: Split, begin: int, end: int) -> Iterator[NDArray[np.uint8]]:
        """Yield batches of records; a thread reads the next one while the network works."""
        starts: Sequence[int] = range(begin, end, VIEWS_PER_BATCH)
        indices = (np.arange(i, min(i + VIEWS_PER_BATCH, end)) for i in starts)
        for batch, _ in prefetch(map(split.gather, indices)):
            yield batch

    def _make_error(self, features: torch.Tensor) -> ValueError:
        layer = self.origin.layer
        if features.isfinite().all():
            return ValueError(
                f"{layer} has outputs up to {float(features.abs().max()):.3g}, and float16 ends at "
                "65504: make the index with --dtype float32"
            )
        return ValueError(
            f"{layer} has outputs that are infinite or no numbers: the training of this network "
            "has diverged. Choose another checkpoint"
        )

    def _write_shard(self, number: int, features: NDArray[Any]) -> None:
        """Write a shard whole, then list it in the journal."""
        name = name_shard(number)
        replace_file(self.folder / name, lambda draft: write_array(draft, features))
        crc = f"{zlib.crc32(np.ascontiguousarray(features).data):08x}"
        self.journal.shards.append(ShardMetadata(name, len(features), crc))
        self.journal.save(self.folder)

    def _report_progress(self) -> None:
        if self.report is None:
            return
        if not self._start:
            self._done_at_start, self._start = self._done, time.monotonic()
        done, seconds = self._done - self._done_at_start, time.monotonic() - self._start
        rate = done / seconds if done and seconds > 0 else 0.0
        left = (self.origin.images - self._done) / rate if rate else None
        self.report(FeatureProgress(self._done, self.origin.images, rate, left))
