"""Kill trainings and packings at random moments, resume them, and compare the results.

    python -m tests.faults.kills train --network small --kills 800
    python -m tests.faults.kills train --network full --kills 200
    python -m tests.faults.kills pack --kills 1000
    python -m tests.faults.kills update --kills 300        photos have changed since the pack
    python -m tests.faults.kills copies --kills 300        and links: predict --sort-into

A training or packing is started, killed, started again with the same command, killed, …, until one
process completes. After every kill each checkpoint must load and be no older than before, and a
pack must be complete or absent; at the end every bit must equal that of an uninterrupted run. Half
of the kills come just before a change of the file system, half at a random time; some processes get
other signals, a full disk, or a terminal that nobody reads. The exit status is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import lives  # first: it sets the numbers of threads
from tests.faults.lives import Death, Life
from tests.faults.machine import describe
from tests.faults.packings import PACKINGS, SHARES, PackingSubject
from tests.faults.trainings import NETWORKS, Training
from tests.faults.updates import SUBJECTS

Subject = Training | PackingSubject
SOFT = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
REAL, GENTLE, FULL, DEAF = 0.05, 0.08, 0.04, 0.03
"""Shares of lives: programs started for real, other signals, full disks, terminals unread."""
MOST_LIVES = 40
"""Of one training: then it is let to its end."""


@dataclass
class Record:
    """What was tried on one subject, and with what result."""

    what: str
    seed: int
    kills: int = 0
    kills_before_a_touch: int = 0
    kills_of_real_programs: int = 0
    other_signals: int = 0
    full_disks: int = 0
    unread_terminals: int = 0
    lives: int = 0
    compared: int = 0
    """Ends that were compared with that of an undisturbed one."""
    seconds: float = 0.0
    problems: dict[str, int] = field(default_factory=dict)
    """Each with how often it was seen."""
    examples: dict[str, str] = field(default_factory=dict)
    """Of each the first: how that life was to end, and what it printed."""


class Loop:
    """Kills of one subject."""

    def __init__(self, subject: Subject, folder: Path, seed: int) -> None:
        self.subject, self.folder = subject, folder
        self.chance = random.Random(f"{seed}/{subject.name}")
        self.record = Record(subject.name, seed)
        self.problems: Counter[str] = Counter()
        self.touches, self.seconds, self.real_seconds = 1, 0.0, 0.0
        self.reference: dict[str, Any] = {}
        self.all_real = lives.THREADS > 1
        """Whether no life is forked: with several threads, a forked process has other last bits."""

    def prepare(self) -> None:
        """Warm this process up, and make what the ends are compared with."""
        with lives.silence(), contextlib.suppress(SystemExit):
            self.subject.work(self.folder / "warm", 0)()
        whole = self.folder / "undisturbed"
        life = lives.live(self.subject.work(whole, 0), Death())
        if life.status != 0:
            raise RuntimeError(f"undisturbed, it ended with {life.status}: {life.printed[-3000:]}")
        self.touches, self.seconds = life.touches, life.seconds
        self.reference = lives.ask(lambda: self.subject.result(whole))
        real = self.folder / "real"
        self.real_seconds = lives.live_for_real(self.subject.command(real, 0), Death()).seconds
        found = lives.ask(lambda: self.subject.result(real))
        if self.all_real:
            self.reference = found
        elif found != self.reference:
            self._problem("a program started for real ends otherwise", Death(), None)
        for name in "warm", "undisturbed", "real":
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def deaths(self) -> Iterator[tuple[Death, bool]]:
        """How one life after another is to end, and whether it is one of a real program."""
        chance = self.chance
        for _ in range(MOST_LIVES):
            real = chance.random() < REAL or self.all_real
            whole = self.real_seconds if real else self.seconds
            draw, early = chance.random(), chance.random() ** 1.5
            if draw < GENTLE:
                yield Death(chance.choice(SOFT), seconds=whole * early), real
            elif draw < GENTLE + FULL and not self.all_real:
                yield Death(seconds=whole, file_bytes=self.subject.full_disk), False
            elif draw < GENTLE + FULL + DEAF and not self.all_real:
                yield Death(seconds=2 * whole, deaf=True), False
            elif draw < 0.55 and not real:
                yield Death(touch=math.ceil(self.touches * early)), False
            else:
                yield Death(seconds=whole * early), real

    def planned(self, touch: int) -> Iterator[tuple[Death, bool]]:
        """Death before this change of the file system, and every other time before it again."""
        for _ in range(1 + touch % 2):
            yield Death(touch=touch), False

    def once(self, number: int, deaths: Iterator[tuple[Death, bool]]) -> None:
        """One training or packing from its first life to its end."""
        place = self.folder / f"{number}"
        for count in range(MOST_LIVES + 1):
            death, real = next(deaths, (Death(), self.all_real))
            life = self._live(place, count, death, real)
            self._judge(place, death, life)
            if life.status == 0 and self.subject.finished(place):
                break
        else:
            self._problem("it never came to its end", Death(), None)
            return
        self._compare(place, death)
        shutil.rmtree(place)

    def _live(self, place: Path, count: int, death: Death, real: bool) -> Life:
        record = self.record
        if real:
            life = lives.live_for_real(self.subject.command(place, count), death)
        else:
            life = lives.live(self.subject.work(place, count), death)
        record.lives += 1
        record.kills += life.killed
        record.kills_before_a_touch += life.killed and death.touch is not None
        record.kills_of_real_programs += life.killed and real
        record.other_signals += death.number != signal.SIGKILL
        record.full_disks += death.file_bytes is not None
        record.unread_terminals += death.deaf
        return life

    def _judge(self, place: Path, death: Death, life: Life) -> None:
        if life.hung:
            self._problem("a life hung", death, life)
        if "Traceback (most recent call last)" in life.printed and not _started_only(life):
            self._problem(f"a traceback: {_last_line(life.printed)}", death, life)
        elif life.status not in _allowed(death):
            end = _last_line(life.printed)
            self._problem(f"{_kind(death)}: ended with status {life.status}: {end}", death, life)
        elif life.status == -death.number != -signal.SIGKILL and self.subject.begun(life):
            if not self.subject.finished(place):
                self._problem(f"signal {death.number} ended it unsaved", death, life)
        elif death.deaf and not life.killed and not self.subject.finished(place):
            self._problem("an unread terminal ended it before its end", death, life)
        for problem in self._problems_of(place) if place.exists() else ():
            self._problem(problem, death, life)
        for problem in self.subject.lost(place):
            self._problem(problem, death, life)

    def _problems_of(self, place: Path) -> list[str]:
        if self.subject.is_large:
            return list(lives.ask(lambda: self.subject.problems(place)))
        return self.subject.problems(place)

    def _compare(self, place: Path, death: Death) -> None:
        self.record.compared += 1
        try:
            found = self.subject.result(place)
            wrong = self.subject.wrong_at_the_end(place)
        except (OSError, ValueError, KeyError) as error:
            found, wrong = {}, [f"the end cannot be read: {error!r}"]
        different = sorted(
            name
            for name in found.keys() | self.reference.keys()
            if found.get(name) != self.reference.get(name)
        )
        if different:
            wrong.append(f"other than undisturbed: {', '.join(different)}")
        for problem in wrong:
            self._problem(problem, death, None)

    def _problem(self, what: str, death: Death, life: Life | None) -> None:
        what = re.sub(rf"{re.escape(str(self.folder))}/\d+", "RUN", what)
        self.problems[what] += 1
        self.record.problems[what] = self.problems[what]
        printed = life.printed[-2000:] if life else ""
        print(f"{what}\n  after {death}\n{printed}", file=sys.stderr, flush=True)
        self.record.examples.setdefault(what, f"{death}\n{printed}")


def _started_only(life: Life) -> bool:
    """Whether Python itself was interrupted, before any line of ours could catch that."""
    return life.printed.rstrip().endswith("KeyboardInterrupt") and "alexnet/cli.py" not in (
        life.printed
    )


def _allowed(death: Death) -> set[int]:
    """Statuses that such a death may end in."""
    usual = {0, -death.number, 128 + death.number}
    return usual | ({1} if death.file_bytes is not None or death.deaf else set())


def _kind(death: Death) -> str:
    if death.file_bytes is not None:
        return "a full disk"
    if death.deaf:
        return "an unread terminal"
    return "a life after a kill" if death.number == signal.SIGKILL else f"signal {death.number}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "nothing was printed"


def run(subject: Subject, folder: Path, options: argparse.Namespace) -> Record:
    """Kill one subject until there were enough kills, or the time is over."""
    loop, began = Loop(subject, folder, options.seed), time.monotonic()
    loop.prepare()
    number = 0
    kills = math.ceil(options.kills * subject.share)
    while time.monotonic() - began < options.seconds:
        number += 1
        if number > loop.touches if options.every_touch else loop.record.kills >= kills:
            break
        loop.once(number, loop.planned(number) if options.every_touch else loop.deaths())
        loop.record.seconds = time.monotonic() - began
        print(_line(loop.record), end="\r" if sys.stdout.isatty() else "\n", flush=True)
    return loop.record


def _line(record: Record) -> str:
    return (
        f"{record.what}: {record.kills} kills in {record.lives} lives, {record.compared} ends "
        f"compared, {sum(record.problems.values())} problems, {record.seconds:.0f} s"
    )


def subjects(options: argparse.Namespace, folder: Path) -> list[Subject]:
    """What is killed. Made in this process, before anything is forked."""
    if options.what == "train":
        return [Training(options.network, folder)]
    if options.what in SUBJECTS:
        return [SUBJECTS[options.what](folder)]
    return [PACKINGS[kind](folder) for kind in options.kinds]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m tests.faults.kills", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("train", "pack", *SUBJECTS))
    parser.add_argument("--network", choices=list(NETWORKS), default="small")
    parser.add_argument("--kinds", nargs="+", choices=list(PACKINGS), default=list(SHARES))
    parser.add_argument("--kills", type=int, default=100, help="of all kinds together")
    parser.add_argument(
        "--every-touch",
        action="store_true",
        help="instead of random instants: before each change of the file system, one by one",
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the record is written")
    parser.add_argument("--folder", type=Path, help="for the files; by default in memory")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Kill, print, write the record; 1 if anything was wrong."""
    options = parse(arguments)
    memory = Path("/dev/shm")
    base = options.folder or (memory if memory.is_dir() else None)
    found = []
    with tempfile.TemporaryDirectory(prefix="alexnet-kills-", dir=base) as folder:
        some = subjects(options, Path(folder))
        found = [run(subject, Path(folder), options) for subject in some]
    for record in found:
        print(_line(record))
        for problem, count in sorted(record.problems.items(), key=lambda pair: -pair[1]):
            print(f"  {count} × {problem}")
    if options.json:
        facts = {"kind": "kills", **describe(), "records": [asdict(record) for record in found]}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return int(any(record.problems for record in found))


if __name__ == "__main__":
    sys.exit(main())
