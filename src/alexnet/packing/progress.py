"""Packing progress as numbers; displaying them is left to the caller.

`packing.loop` counts with a `ProgressReporter`; `commands.pack` draws the `PackingProgress` that
its callback receives. Neither changes the state of a packing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet.images.decoder_process import Item
from alexnet.sources.entry import Entry, Source, Span

SECONDS_BETWEEN = 0.1
"""Minimum time between two reports."""


@dataclass(frozen=True)
class PackingProgress:
    """The progress of a packing at one moment."""

    split: str
    done: int
    """Images and skipped files processed so far, in all splits and all calls."""
    skipped: int
    """How many of these were not used."""
    total: int | None
    """The final value of `done`; None if only reading the whole source could tell."""
    images_per_second: float
    """The rate of this call, since its first image."""
    seconds_left: float | None
    """Estimated time to the end of the packing or, if `total` is None, of the archive of this
    split; None if neither can be estimated."""


class ProgressReporter:
    """Counts items and calls `report` with a `PackingProgress` at most ten times per second."""

    def __init__(
        self,
        report: Callable[[PackingProgress], None] | None,
        total: int | None,
        done: int,
        skipped: int,
    ) -> None:
        self._report, self._total = report, total
        self._done, self._skipped = done, skipped
        self._done_this_call = 0
        self._fraction, self._first_fraction, self._split = 0.0, 0.0, ""
        self._began = self._split_began = self._reported = time.monotonic()

    def count(self, split: str, used: bool, fraction: float | None = None) -> None:
        """Count one item; `fraction` is the part of the split's archive that has been read."""
        now = time.monotonic()
        if not self._done_this_call:
            self._began = now  # do not count the time that the workers took to start
        if split != self._split:
            self._split, self._split_began, self._first_fraction = split, now, fraction or 0.0
        self._done_this_call += 1
        self._done += 1
        self._skipped += not used
        self._fraction = fraction or 0.0
        if now - self._reported >= SECONDS_BETWEEN:
            self.report(split)

    def report(self, split: str) -> None:
        """Report now."""
        self._reported = time.monotonic()
        if self._report is None:
            return
        elapsed, done = self._reported - self._began, self._done_this_call
        rate = (done - 1) / elapsed if done > 1 and elapsed > 0 else 0.0
        left = self._seconds_left(rate)
        self._report(PackingProgress(split, self._done, self._skipped, self._total, rate, left))

    def _seconds_left(self, rate: float) -> float | None:
        """Estimate from the rate, or else from the fraction of the archive that has been read."""
        if self._total is not None:
            return (self._total - self._done) / rate if rate else None
        if self._fraction <= self._first_fraction:
            return None
        elapsed = self._reported - self._split_began
        return elapsed * (1 - self._fraction) / (self._fraction - self._first_fraction)


def count_items(source: Source) -> int | None:
    """Count the items of a source; return None if that would mean reading archives."""
    count = 0
    for split in source.splits:
        for item in source.entries(split):
            if isinstance(item, Entry) and not isinstance(item.content, Path | np.ndarray):
                return None
            count += 1
    return count


def measure_position(item: Item) -> float | None:
    """Return the fraction of its archive that ends with this item; None if it is not known."""
    if not isinstance(item, Entry) or not isinstance(item.content, Span):
        return None
    return (item.content.offset + item.content.size) / max(1, _archive_bytes(item.content.path))


@functools.cache
def _archive_bytes(archive: Path) -> int:
    return archive.stat().st_size
