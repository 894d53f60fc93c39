"""Hostile inputs for every function that reads files from outside the program.

    python -m tests.faults.fuzz --inputs 1000000 --json benchmarks/results/faults/fuzz.json
    python -m tests.faults.fuzz checkpoints packs --seconds 60
    python -m tests.faults.fuzz checkpoints --only 1234     # one input again, with its traceback

A valid file is changed in one to four places and read. The reader must return normally or raise an
error that the command line prints in one line (`judge`). Anything else is a finding: another
exception, a crash, no answer within 20 seconds, more memory than guaranteed. Findings are
distinguished by reader, exception and line of code; the first input of each is kept in a folder.
Each input is determined by the seed and its number, so that a run can be continued (with the same
--json) and an input repeated. The exit status is 1 if a finding violates a guarantee.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import math
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from tests.faults import lives  # isort: skip
import numpy as np  # after `lives`, which sets the numbers of threads
from tests.faults.examples import Files
from tests.faults.judge import FAILING, judge, place
from tests.faults.machine import describe
from tests.faults.readers import READERS, Reader
from tests.faults.structures import change

CHUNK = 2000
"""Inputs a process: a crash costs the rest of them."""
HANGS = 20.0
"""Seconds without an answer."""
ADDRESS_SPACE = 6 << 30
"""Bytes beyond what the process has that it cannot get: the machine is others' too."""
WEIGHTS = {".json": 4, ".mat": 2}
NOT_WARMED = "portable", "commands", "workers"
"""Readers that start threads or processes, which no fork would survive."""


@dataclass(frozen=True)
class Case:
    """One input: a file of an example, changed; or a folder that was made."""

    example: int
    name: str
    content: bytes
    what: tuple[str, ...]


@dataclass
class Finding:
    """Inputs with the same consequence."""

    reader: str
    kind: str
    type: str
    place: str
    message: str
    input: int
    """Number of the one with the fewest changes."""
    what: tuple[str, ...]
    trace: str = ""
    count: int = 1

    @property
    def key(self) -> str:
        """What makes two findings the same."""
        return f"{self.reader}|{self.kind}|{self.type}|{self.place}"


@dataclass
class Record:
    """What was tried on one reader, and with what result."""

    reader: str
    seed: int
    inputs: int = 0
    returned: int = 0
    refused: int = 0
    """Inputs that ended in an error as it should be."""
    seconds: float = 0.0
    memory: int = 0
    """Bytes that no input may take."""
    peak_bytes: int = 0
    """Memory that one process took at most beyond what it began with."""
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> bool:
        """Put a finding among the others; whether it is new."""
        for known in self.findings:
            if known.key == finding.key:
                total = known.count + finding.count
                if len(finding.what) < len(known.what):
                    vars(known).update(vars(finding))
                known.count = total
                return False
        self.findings.append(finding)
        return True


class Board:
    """Numbers that a process and the one that watches it share."""

    NAMES = "input", "returned", "refused", "peak"

    def __init__(self) -> None:
        self.numbers = np.frombuffer(mmap.mmap(-1, 8 * len(self.NAMES)), np.int64)
        self.numbers.flags.writeable = True

    def __getitem__(self, name: str) -> int:
        return int(self.numbers[self.NAMES.index(name)])

    def __setitem__(self, name: str, value: int) -> None:
        self.numbers[self.NAMES.index(name)] = value


def make_case(reader: Reader, some: Sequence[Files], seed: int, number: int) -> Case:
    """The input of this number."""
    chance = random.Random(f"{seed}/{reader.name}/{number}")
    if reader.make is not None:
        ((name, content),) = reader.make(chance).items()
        return Case(0, name, content, (content.decode("utf-8", "replace")[:300],))
    example = chance.randrange(len(some))
    names = [name for name in sorted(some[example]) if name.endswith(reader.targets)]
    weights = [WEIGHTS.get(Path(name).suffix, 1) for name in names]
    (name,) = chance.choices(names, weights)
    content, what = some[example][name], []
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        content, words = change(chance, name, content)
        what.append(f"{name}: {words}")
    return Case(example, name, content, tuple(what))


class Fuzzer:
    """One reader, its examples and its record."""

    def __init__(self, reader: Reader, options: argparse.Namespace, record: Record) -> None:
        self.reader, self.options, self.record = reader, options, record
        self.examples: list[Files] = lives.ask(reader.examples)
        if not self.examples:
            self.examples = [{}]
        self.usable = reader.make is not None or bool(self.examples[0])
        self.folder = Path(options.folder, reader.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, files in enumerate(self.examples):
            for name, content in files.items():
                self._write(number, name, content)
            self._place(number).mkdir(parents=True, exist_ok=True)

    def warm_up(self) -> None:
        """Read every example unchanged. Raises RuntimeError if a good one is refused."""
        if self.reader.name in NOT_WARMED:
            return
        for number, files in enumerate(self.examples):
            names = [name for name in sorted(files) if name.endswith(self.reader.targets)]
            for name in names[:1]:
                try:
                    self._read(number, name)
                except Exception as error:
                    message = f"{self.reader.name}: example {number} ({name}) is refused"
                    raise RuntimeError(message) from error
                self._restore(number)

    def run(self, inputs: int, seconds: float) -> None:
        """Try inputs until so many were tried in all, or the time is over."""
        began, before = time.monotonic(), self.record.seconds
        while self.usable and self.record.inputs < inputs:
            if time.monotonic() - began > seconds:
                return
            self._chunk(min(self.record.inputs + CHUNK, inputs))
            self.record.seconds = before + time.monotonic() - began

    def _chunk(self, stop: int) -> None:
        """Inputs to `stop`, or to the first that ends its process."""
        lives.check_alone()
        start, board = self.record.inputs, Board()
        mine, theirs = Pipe(duplex=False)
        with tempfile.TemporaryFile("w+") as stacks:
            child = os.fork()
            if child == 0:
                mine.close()
                self._try_all(range(start, stop), board, theirs, stacks)
            theirs.close()
            end, kind = self._watch(child, mine, board)
            stacks.seek(0)
            stack = stacks.read()
        self.record.returned += board["returned"]
        self.record.refused += board["refused"]
        self.record.peak_bytes = max(self.record.peak_bytes, board["peak"])
        self.record.inputs = stop
        if kind:
            number = board["input"]
            self.record.inputs = number + 1
            self._add(self._broken(number, kind, end, stack))
            for at in range(len(self.examples)):
                self._restore(at)

    def _try_all(self, numbers: range, board: Board, out: Connection, stacks: Any) -> None:
        """A process: every input, and what came of it. It never returns."""
        self._limit(stacks)
        base, found = _peak(), dict[str, Finding]()
        for number in numbers:
            board["input"] = number
            finding = self._try(number)
            if finding is None:
                board["returned"] += 1
            elif finding.kind == "refused":
                board["refused"] += 1
            elif finding.key in found:
                found[finding.key].count += 1
            else:
                found[finding.key] = finding
                out.send(finding)
                finding.count = 0
            board["peak"] = max(board["peak"], _peak() - base)
            if board["peak"] > self.reader.memory:
                os._exit(77)
        for finding in found.values():
            if finding.count:
                finding.trace = ""
                out.send(finding)
        out.close()
        os._exit(0)

    def _limit(self, stacks: Any) -> None:
        """What a process of inputs may take, say and survive."""
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        faulthandler.enable(stacks)
        faulthandler.register(signal.SIGUSR1, stacks)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
            resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE,) * 2)
        except OSError:
            pass  # another system: its memory is watched all the same
        warnings.simplefilter("ignore")

    def _try(self, number: int) -> Finding | None:
        case = self._case(number)
        self._write(case.example, case.name, case.content)
        try:
            self._read(case.example, case.name)
        except BaseException as error:  # noqa: BLE001 - that is what is judged
            return self._judged(error, number, case)
        finally:
            self._restore(case.example, case.name)
        return None

    def _judged(self, error: BaseException, number: int, case: Case) -> Finding:
        kind = judge(error)
        if kind is None:
            return Finding(self.reader.name, "refused", "", "", "", number, ())
        trace = "".join(traceback.format_exception(error, limit=-12))
        type_, message = type(error).__name__, str(error)[:500]
        if kind == "wrong":
            type_, message = message[:80], ""
        there = place(error)
        return Finding(self.reader.name, kind, type_, there, message, number, case.what, trace)

    def _watch(self, child: int, results: Connection, board: Board) -> tuple[int, str]:
        """Take the findings; how the process ended, and the kind of finding that this is."""
        seen, since, hangs = -1, time.monotonic(), False
        while True:
            if _received(results, self._add):
                continue
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                while _received(results, self._add):
                    pass
                break
            now = time.monotonic()
            if board["input"] != seen:
                seen, since = board["input"], now
            elif now - since > HANGS:
                os.kill(child, signal.SIGUSR1)
                time.sleep(0.5)
                os.kill(child, signal.SIGKILL)
                hangs, since = True, math.inf
        code = os.waitstatus_to_exitcode(status)
        kind = "hang" if hangs else {0: "", 77: "memory"}.get(code, "crash")
        return code, kind

    def _broken(self, number: int, kind: str, end: int, stack: str) -> Finding:
        """The finding of an input that ended its process."""
        case = self._case(number)
        types = {"hang": "no answer", "memory": f"over {self.reader.memory >> 20} MiB"}
        words = types.get(kind, f"exit status {end}")
        if self.reader.guarded:
            kind = "guarded"
        lines = [line.strip() for line in stack.splitlines() if "/alexnet/" in line]
        there = lines[0].split("/alexnet/")[-1] if lines else ""
        return Finding(self.reader.name, kind, words, there, "", number, case.what, stack[-3000:])

    def _add(self, finding: Finding) -> None:
        if self.record.add(finding):
            self._keep(finding)

    def _keep(self, finding: Finding) -> None:
        """Put the input and the traceback into the folder of findings."""
        digest = hashlib.sha256(finding.key.encode()).hexdigest()[:8]
        folder = self.options.corpus / f"{finding.reader}-{finding.kind}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        case = self._case(finding.input)
        (folder / Path(case.name).name).write_bytes(case.content)
        about = {**asdict(finding), "seed": self.record.seed, "example": case.example}
        trace = about.pop("trace")
        (folder / "finding.txt").write_text(
            json.dumps(about, indent=1) + "\n\n" + trace, "utf-8", "backslashreplace"
        )

    def repeat(self, number: int) -> None:
        """Read one input in this process and let everything through."""
        case = self._case(number)
        print(f"{self.reader.name} {number}: {'; '.join(case.what)}")
        self._write(case.example, case.name, case.content)
        self._read(case.example, case.name)

    def _case(self, number: int) -> Case:
        return make_case(self.reader, self.examples, self.record.seed, number)

    def _read(self, example: int, name: str) -> None:
        self.reader.read(self._place(example), name)

    def _place(self, example: int) -> Path:
        return self.folder / f"{example}"

    def _write(self, example: int, name: str, content: bytes) -> None:
        path = self._place(example) / name
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _restore(self, example: int, name: str | None = None) -> None:
        """Make the example good again: the file, or all of it where a reader writes."""
        files = self.examples[example]
        if name in files and self.reader.name not in ("journals", "runs", "dumps"):
            self._write(example, name, files[name])
            return
        shutil.rmtree(self._place(example), ignore_errors=True)
        self._place(example).mkdir(parents=True, exist_ok=True)
        for inside, content in files.items():
            self._write(example, inside, content)


def _received(results: Connection, take: Any) -> bool:
    """Hand on what has come, if anything has within a moment."""
    try:
        if results.poll(0.02):
            take(results.recv())
            return True
    except EOFError:
        time.sleep(0.001)
    return False


def _peak() -> int:
    """Bytes of memory that this process has had at most."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size << 10


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m tests.faults.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--inputs", type=int, default=10_000, help="in all")
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="the record; an earlier one is continued")
    corpus = Path(tempfile.gettempdir(), "alexnet-findings")
    parser.add_argument("--corpus", type=Path, default=corpus, help=f"findings, {corpus}")
    parser.add_argument("--only", type=int, help="repeat the input of this number")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.readers) - set(READERS))
    if unknown:
        parser.error(f"no reader {', '.join(unknown)}: there are {', '.join(READERS)}")
    return options


def earlier(options: argparse.Namespace) -> dict[str, Record]:
    """The records of a run that is continued, by reader."""
    if options.json is None or not options.json.exists():
        return {}
    stored = json.loads(options.json.read_text())["records"]
    found = {}
    for record in stored:
        findings = [Finding(**{**x, "what": tuple(x["what"])}) for x in record.pop("findings")]
        found[record["reader"]] = Record(**record, findings=findings)
    if any(record.seed != options.seed for record in found.values()):
        raise SystemExit(f"{options.json} was made with another seed: name another file")
    return found


def save(records: dict[str, Record], options: argparse.Namespace) -> None:
    """Write the record."""
    if options.json is None:
        return
    facts = {"kind": "fuzz", **describe()}
    rows = [asdict(record) for record in records.values()]
    for row in rows:
        for finding in row["findings"]:
            finding["trace"] = ""
    options.json.parent.mkdir(parents=True, exist_ok=True)
    beside = options.json.with_suffix(".partial")
    beside.write_text(json.dumps({**facts, "records": rows}, indent=1) + "\n")
    os.replace(beside, options.json)


def tell(records: dict[str, Record]) -> int:
    """Print the findings; how many break a promise."""
    broken = 0
    for record in records.values():
        speed = record.inputs / max(record.seconds, 1e-9)
        print(
            f"{record.reader}: {record.inputs:,} inputs, {speed:,.0f}/s, {record.refused:,} "
            f"refused, {record.peak_bytes / 1e6:,.0f} MB, {len(record.findings)} findings"
        )
        for x in sorted(record.findings, key=lambda x: (x.kind not in FAILING, -x.count)):
            broken += x.kind in FAILING
            print(f"  {x.kind} {x.type} in {x.place} ({x.count} ×, e.g. --only {x.input})")
            print(f"      {x.message[:150]!r} after {'; '.join(x.what)[:200]}")
    return broken


def main(arguments: list[str] | None = None) -> int:
    """Fuzz, print, write the record."""
    options = parse(arguments)
    names = options.readers or list(READERS)
    shares = {name: READERS[name].share for name in names}
    records, whole = earlier(options), sum(shares.values())
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="alexnet-fuzz-", dir=memory if memory.is_dir() else None
    ) as folder:
        options.folder = folder
        for name in names:
            record = records.setdefault(name, Record(name, options.seed))
            record.memory = READERS[name].memory
            fuzzer = Fuzzer(READERS[name], options, record)
            if options.only is not None:
                fuzzer.repeat(options.only)
                return 0
            fuzzer.warm_up()
            part = shares[name] / whole
            fuzzer.run(math.ceil(options.inputs * part), options.seconds * part)
            save(records, options)
            done = sum(record.inputs for record in records.values())
            print(f"{done:,} inputs, {name} done", end="\r", file=sys.stderr, flush=True)
    broken = tell(records)
    total = sum(record.inputs for record in records.values())
    print(f"{total:,} inputs in all; {broken} findings break a promise")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
