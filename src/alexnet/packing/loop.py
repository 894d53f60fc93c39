"""One packing: from where its journal says that it stands to the finished pack."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.files import replace_json
from alexnet.images.decoder_group import DecoderGroup
from alexnet.images.decoder_process import Item
from alexnet.images.preparation import PreparationResult, RecordOptions, compute_fingerprint
from alexnet.images.records import record_shape
from alexnet.packing.duplicates import write_duplicates
from alexnet.packing.journal import NAME, Journal, SplitState
from alexnet.packing.progress import Meter, Progress
from alexnet.packing.shards import HASHES, SplitWriter, open_at, sync, write_array
from alexnet.packs.pack import check_array, crc32
from alexnet.packs.schema import DIGEST, FORMAT, VERSION, content_checksum, metadata_digest
from alexnet.packs.statistics import Sums
from alexnet.sources.entry import Entry, Skipped, Source, Span


class OtherPack(ValueError):  # noqa: N818 - it is named for what is there
    """What a folder holds is a pack, finished or begun, but not the one that is asked for."""

    def __init__(self, what: str, out: Path) -> None:
        super().__init__(f"{what}: choose another folder, delete {out}, or ask for the same")
        self.what = what
        """What is there, without what to do."""


class Packing:
    """One call's part of a packing."""

    def __init__(
        self, source: Source, out: Path, options: RecordOptions, shard_images: int, journal: Journal
    ) -> None:
        self.source, self.out, self.options, self.journal = source, out, options, journal
        self.shape = record_shape(options.size, options.pixels)
        self.shard_images = shard_images
        self.measured = "train" if "train" in source.splits else source.splits[0]
        """The split whose mean and components are the pack's."""
        self.sums = Sums(options.record_bytes)
        for state in journal.splits.values():
            for shard in state.shards:
                check_array(out / shard["file"], (shard["images"], *self.shape), np.uint8)
        if journal.sums:
            self.sums.restore(out / journal.sums, journal.moments, journal.sums_images)

    def run(self, workers: DecoderGroup, progress: Callable[[Progress], None] | None) -> None:
        """Pack every split that is not finished."""
        states = self.journal.splits.values()
        done = sum(state.position for state in states)
        total = expected(self.source)
        self._check_space(None if total is None else total - done)
        skipped = sum(sum(state.skipped.values()) for state in states)
        meter = Meter(progress, total, done, skipped)
        with open_at(self.out / "skipped.jsonl", self.journal.skipped_bytes) as log:
            for split in self.source.splits:
                if not self.journal.splits[split].done:
                    self._pack(split, workers, log, meter)
                meter.report(split)

    def _check_space(self, images: int | None) -> None:
        needed = (images or 0) * self.options.record_bytes / 1e9
        free = shutil.disk_usage(self.out).free / 1e9
        if needed > free:
            message = f"{needed:.1f} GB are needed for {images} images and {free:.1f} GB are free"
            raise OSError(errno.ENOSPC, message)

    def _pack(self, split: str, workers: DecoderGroup, log: IO[bytes], meter: Meter) -> None:
        state = self.journal.splits[split]
        writer = SplitWriter(self.out / split, state, self.shape, self.shard_images)
        try:
            for item, outcome, record in workers.prepare(self._remaining(split)):
                used = self._take(state, writer, log, item, outcome, record)
                meter.step(split, used, fraction(item))
                if writer.full:
                    self._commit(writer, log)
            state.done = True
            writer.finish()
            self._commit(writer, log)
        finally:
            writer.close()

    def _remaining(self, split: str) -> Iterator[Item]:
        """The items of a split after those dealt with, which must be the same as they were."""
        state, seen = self.journal.splits[split], SplitState()
        items = iter(self.source.entries(split))
        for item in itertools.islice(items, state.position):
            seen.pass_by(*identity(item, None))
        if (seen.position, seen.chain) != (state.position, state.chain):
            raise OtherPack(changed(self.source, self.out), self.out)
        return items

    def _take(
        self,
        state: SplitState,
        writer: SplitWriter,
        log: IO[bytes],
        item: Item,
        outcome: PreparationResult | None,
        record: NDArray[np.uint8],
    ) -> bool:
        """Write one image down, or why it is not used."""
        state.pass_by(*identity(item, outcome))
        if isinstance(item, Entry) and outcome is not None and not outcome.reason:
            writer.append(record, item.label, item.name, outcome.digest)
            if item.split == self.measured and outcome.moments is not None:
                self.sums.add(record, outcome.moments)
            for note in outcome.notes:
                state.notes[note] = state.notes.get(note, 0) + 1
            return True
        why = item if isinstance(item, Skipped) else outcome
        assert why is not None
        line = {"split": item.split, "path": item.name, "reason": why.reason, "detail": why.detail}
        log.write(json.dumps(line).encode() + b"\n")
        state.skipped[why.reason] = state.skipped.get(why.reason, 0) + 1
        return False

    def _commit(self, writer: SplitWriter, log: IO[bytes]) -> None:
        """Everything to disk first, then the journal that says so."""
        writer.commit()
        sync(log)
        journal, old = self.journal, self.journal.sums
        journal.skipped_bytes = log.tell()
        if journal.sums_images != self.sums.images:  # a new file: the old one counts until it is in
            journal.sums = f"sums-{self.sums.images}.npy"
            journal.moments, journal.sums_images = self.sums.moments, self.sums.images
            write_array(self.out / journal.sums, self.sums.total)
        journal.save(self.out)
        if old and old != journal.sums:
            (self.out / old).unlink()

    def finish(self) -> None:
        """Write the mean, the duplicates and, last, pack.json; then clear up."""
        if not self.sums.images:
            raise ValueError(self._nothing())
        out, size, pixels = self.out, self.options.size, self.options.pixels
        write_array(out / "mean.npy", self.sums.mean(size, pixels))
        duplicates = write_duplicates(out, self.source.splits, out / "duplicates.jsonl")
        facts = self._facts(duplicates)
        replace_json(out / "pack.json", facts, indent=1)
        clear_up(out)

    def _nothing(self) -> str:
        counts = self.journal.splits[self.measured].skipped
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none there"
        listed, where = self.out / "skipped.jsonl", f"{self.measured} of {self.source.path}"
        return f"not one image in {where} can be used ({reasons}): see {listed}"

    def _facts(self, duplicates: int) -> dict[str, Any]:
        components, deviations = self.sums.components(self.options.size)
        states = self.journal.splits
        facts = {
            "format": FORMAT,
            "version": VERSION,
            **self.journal.about,
            "splits": {split: _split_facts(state) for split, state in states.items()},
            "duplicates": duplicates,
            "mean_crc32": crc32(self.out / "mean.npy"),
            "components": components.tolist(),
            "deviations": deviations.tolist(),
        }
        facts["checksum"] = content_checksum(facts)
        return {**facts, DIGEST: metadata_digest(facts)}


def clear_up(out: Path) -> None:
    """Remove what only an unfinished packing needs."""
    for pattern in ("sums-*.npy", f"*/{HASHES}", f"{NAME}*", ".*.partial"):
        for leftover in out.glob(pattern):
            leftover.unlink()


def _split_facts(state: SplitState) -> dict[str, Any]:
    return {
        "images": state.images,
        "shards": state.shards,
        "labels_crc32": f"{state.labels_crc:08x}",
        "names_crc32": f"{state.names_crc:08x}",
        "skipped": dict(sorted(state.skipped.items())),
        "notes": dict(sorted(state.notes.items())),
        "chain": state.chain,
    }


@functools.cache
def _length(archive: Path) -> int:
    return archive.stat().st_size


def fraction(item: Item) -> float | None:
    """How much of its archive lies before the end of an item; None where that is not known."""
    if not isinstance(item, Entry) or not isinstance(item.content, Span):
        return None
    return (item.content.offset + item.content.size) / max(1, _length(item.content.path))


def expected(source: Source) -> int | None:
    """How many items a source has; None where counting would mean reading archives."""
    count = 0
    for split in source.splits:
        for item in source.entries(split):
            if isinstance(item, Entry) and not isinstance(item.content, Path | np.ndarray):
                return None
            count += 1
    return count


def changed(source: Source, out: Path) -> str:
    """What to say of a source that is not what it was."""
    return f"{source.path} has changed since {out} was packed"


def identity(item: Item, outcome: PreparationResult | None) -> tuple[object, ...]:
    """What tells an item of a source from any other."""
    if isinstance(item, Skipped):
        return item.name, item.reason
    return (
        item.name,
        item.label,
        outcome.fingerprint if outcome else compute_fingerprint(item.content),
    )
