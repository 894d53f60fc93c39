"""One packing, from the state in its journal to the finished pack.

`packing.pack` makes a `Packing` and calls `run` and then `finish`. For each item of the source, in
order, the loop takes the record that a worker has prepared, appends it or notes why it was skipped,
and updates the state in memory. `_commit` saves it; a resumed packing starts from the last commit.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.files import replace_json
from alexnet.images.decoder_group import DecoderGroup
from alexnet.images.decoder_process import Item
from alexnet.images.preparation import PreparationResult, RecordOptions
from alexnet.images.records import record_shape
from alexnet.packing.duplicates import write_duplicates
from alexnet.packing.journal import Journal, SplitState
from alexnet.packing.origins import KnownRecords
from alexnet.packing.progress import (
    PackingProgress,
    ProgressReporter,
    count_items,
    measure_position,
)
from alexnet.packing.resume import check_done, identify_item, iterate_remaining
from alexnet.packing.shards import SplitWriter, open_at, sync, write_array
from alexnet.packing.sharing import Helpers
from alexnet.packing.versions import remove_packing_files
from alexnet.packs.checked_files import check_array, crc32
from alexnet.packs.schema import DIGEST, FORMAT, VERSION, compute_checksum, compute_digest
from alexnet.packs.statistics import Sums
from alexnet.sources.entry import Entry, Skipped, Source
from alexnet.terminal import format_count


class Packing:
    """The part of a packing that one call does, in the folder `out` of a version.

    Images whose records are `known` are not decoded; if none are, `helpers` share the decoding.
    Raises ValueError if a shard or the sums that
    the journal lists are damaged.
    """

    def __init__(
        self,
        source: Source,
        out: Path,
        options: RecordOptions,
        shard_images: int,
        journal: Journal,
        known: KnownRecords,
        helpers: Helpers | None = None,
    ) -> None:
        self.source, self.out, self.options, self.journal = source, out, options, journal
        self.known, self.helpers = known, None if len(known) else helpers
        self.shape = record_shape(options.size, options.pixels)
        self.shard_images = shard_images
        self.statistics_split = "train" if "train" in source.splits else source.splits[0]
        """The split from which the mean and the color components are computed."""
        self.sums = Sums(options.record_bytes)
        for state in journal.splits.values():
            for shard in state.shards:
                check_array(out / shard["file"], (shard["images"], *self.shape), np.uint8)
        if journal.sums:
            self.sums.restore(out / journal.sums, journal.moments, journal.sums_images)

    def run(
        self, workers: DecoderGroup, progress: Callable[[PackingProgress], None] | None
    ) -> None:
        """Pack every split that is not finished.

        Raises OSError if the disk is too small, SourceChanged if what was packed by earlier calls
        has changed.
        """
        states = self.journal.splits.values()
        done = sum(state.position for state in states)
        total = count_items(self.source)
        self._check_space(None if total is None else total - done)
        skipped = sum(sum(state.skipped.values()) for state in states)
        reporter = ProgressReporter(progress, total, done, skipped)
        with open_at(self.out / "skipped.jsonl", self.journal.skipped_bytes) as log:
            for split in self.source.splits:
                if self.journal.splits[split].done:
                    check_done(self.source, split, self.journal.splits[split])
                else:
                    self._pack_split(split, workers, log, reporter)
                reporter.report(split)

    def _check_space(self, images: int | None) -> None:
        """Raise OSError unless the records of `images` more images fit on the disk."""
        needed = (images or 0) * self.options.record_bytes / 1e9
        free = shutil.disk_usage(self.out).free / 1e9
        if needed > free:
            wanted = f"{needed:.1f} GB are needed for {format_count(images or 0, 'image')}"
            message = f"{wanted} and {free:.1f} GB are free"
            raise OSError(errno.ENOSPC, message)

    def _pack_split(
        self, split: str, workers: DecoderGroup, log: IO[bytes], reporter: ProgressReporter
    ) -> None:
        """Pack the rest of one split and commit each time a shard is full."""
        state = self.journal.splits[split]
        writer = SplitWriter(self.out / split, state, self.shape, self.shard_images)
        try:
            items = self.known.replace_known(iterate_remaining(self.source, split, state))
            results = (
                workers.prepare(items)
                if self.helpers is None
                else self.helpers.prepare(workers, items, split, state.position)
            )
            for item, outcome, record in results:
                used = self._record(state, writer, log, item, outcome, record)
                reporter.count(split, used, measure_position(item))
                if writer.is_full:
                    self._commit(writer, log)
            state.done = True
            writer.finish()
            self._commit(writer, log)
        finally:
            writer.close()

    def _record(
        self,
        state: SplitState,
        writer: SplitWriter,
        log: IO[bytes],
        item: Item,
        outcome: PreparationResult | None,
        record: NDArray[np.uint8],
    ) -> bool:
        """Append one image, or a line that says why it is not used; return whether it is used."""
        state.advance(*identify_item(item, outcome))
        if isinstance(item, Entry) and outcome is not None and not outcome.reason:
            writer.append(record, item, outcome)
            if item.split == self.statistics_split and outcome.moments is not None:
                self.sums.add(record, outcome.moments)
            for note in outcome.notes:
                state.notes[note] = state.notes.get(note, 0) + 1
            return True
        skipped = item if isinstance(item, Skipped) else outcome  # by the source, or by a worker
        assert skipped is not None
        line = {
            "split": item.split,
            "path": item.name,
            "reason": skipped.reason,
            "detail": skipped.detail,
        }
        log.write(json.dumps(line).encode() + b"\n")
        state.skipped[skipped.reason] = state.skipped.get(skipped.reason, 0) + 1
        return False

    def _commit(self, writer: SplitWriter, log: IO[bytes]) -> None:
        """Flush all files to the disk, then save the journal that records their lengths.

        In this order, a kill at any moment leaves a journal whose files are complete. The sums go
        to a new file for the same reason: the saved journal still refers to the old one, which is
        deleted at the end.
        """
        writer.commit()
        sync(log)
        journal, old = self.journal, self.journal.sums
        journal.skipped_bytes = log.tell()
        if journal.sums_images != self.sums.images:
            journal.sums = f"sums-{self.sums.images}.npy"
            journal.moments, journal.sums_images = self.sums.moments, self.sums.images
            write_array(self.out / journal.sums, self.sums.total)
        journal.save(self.out)
        if old and old != journal.sums:
            (self.out / old).unlink()

    def finish(self, pack: Path) -> None:
        """Write the mean, the duplicates and, last, the pack's pack.json; then remove the journal.

        Raises ValueError if not a single image can be used.
        """
        if not self.sums.images:
            raise ValueError(self._no_images_message())
        out, size, pixels = self.out, self.options.size, self.options.pixels
        write_array(out / "mean.npy", self.sums.mean(size, pixels))
        duplicates = write_duplicates(out, self.source.splits, out / "duplicates.jsonl")
        folder = "" if out == pack else out.name
        replace_json(pack / "pack.json", self._make_metadata(duplicates, folder), indent=1)
        remove_packing_files(out)

    def _no_images_message(self) -> str:
        counts = self.journal.splits[self.statistics_split].skipped
        reasons = (
            ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "it has none"
        )
        return (
            f"not one image in {self.statistics_split} of {self.source.path} can be used "
            f"({reasons}): see {self.out / 'skipped.jsonl'}"
        )

    def _make_metadata(self, duplicates: int, folder: str) -> dict[str, Any]:
        """Return the content of pack.json: see `packs.schema.PackMetadata`."""
        components, deviations = self.sums.components(self.options.size)
        states = self.journal.splits
        metadata = {
            "format": FORMAT,
            "version": VERSION if folder else 1,
            **({"folder": folder} if folder else {}),
            **self.journal.about,
            "splits": {split: _make_split_metadata(state) for split, state in states.items()},
            "duplicates": duplicates,
            "mean_crc32": crc32(self.out / "mean.npy"),
            "components": components.tolist(),
            "deviations": deviations.tolist(),
        }
        metadata["checksum"] = compute_checksum(metadata)
        return {**metadata, DIGEST: compute_digest(metadata)}


def _make_split_metadata(state: SplitState) -> dict[str, Any]:
    origins = {} if state.origins_crc is None else {"origins_crc32": f"{state.origins_crc:08x}"}
    return {
        **origins,
        "images": state.images,
        "shards": state.shards,
        "labels_crc32": f"{state.labels_crc:08x}",
        "names_crc32": f"{state.names_crc:08x}",
        "skipped": dict(sorted(state.skipped.items())),
        "notes": dict(sorted(state.notes.items())),
        "chain": state.chain,
    }
