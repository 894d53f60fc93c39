"""How a packing is getting on, as numbers; whoever wants it drawn draws it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS_BETWEEN = 0.1


@dataclass(frozen=True)
class Progress:
    """Where a packing stands."""

    split: str
    done: int
    """Images and skipped files dealt with, of all splits and all calls."""
    skipped: int
    total: int | None
    """What `done` will be at the end; None where only reading the whole source could tell."""
    images_per_second: float
    """Of this call, since its first image."""
    seconds_left: float | None
    """Of everything; where the total is not known, of this split's archive; None if neither is."""


class Meter:
    """Counts, and reports ten times a second."""

    def __init__(
        self, report: Callable[[Progress], None] | None, total: int | None, done: int, skipped: int
    ) -> None:
        self._report, self._total = report, total
        self._done, self._skipped = done, skipped
        self._here = 0
        self._part, self._first_part, self._split = 0.0, 0.0, ""
        self._began = self._split_began = self._reported = time.monotonic()

    def step(self, split: str, used: bool, part: float | None = None) -> None:
        """Count one more; `part` is how much of the split's archive has been read."""
        now = time.monotonic()
        if not self._here:
            self._began = now  # what came before was the starting of processes
        if split != self._split:
            self._split, self._split_began, self._first_part = split, now, part or 0.0
        self._here += 1
        self._done += 1
        self._skipped += not used
        self._part = part or 0.0
        if now - self._reported >= SECONDS_BETWEEN:
            self.report(split)

    def report(self, split: str) -> None:
        """Report now."""
        self._reported = time.monotonic()
        if self._report is None:
            return
        elapsed = self._reported - self._began
        rate = (self._here - 1) / elapsed if self._here > 1 and elapsed > 0 else 0.0
        left = self._seconds_left(rate)
        self._report(Progress(split, self._done, self._skipped, self._total, rate, left))

    def _seconds_left(self, rate: float) -> float | None:
        if self._total is not None:
            return (self._total - self._done) / rate if rate else None
        if self._part <= self._first_part:
            return None
        elapsed = self._reported - self._split_began
        return elapsed * (1 - self._part) / (self._part - self._first_part)
