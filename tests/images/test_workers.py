"""Decoding processes: in order, and never brought down by an image."""

import io
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.images import workers
from alexnet.images.prepare import Options
from alexnet.sources.entry import Entry, Skipped, Span

OPTIONS = Options(size=8)


def png(level: int) -> bytes:
    """A gray square."""
    memory = io.BytesIO()
    Image.new("RGB", (8, 8), (level,) * 3).save(memory, "PNG")
    return memory.getvalue()


def entry(content, name="x.png") -> Entry:
    return Entry("train", name, 0, content)


def results(items, processes=1, timeout=30.0):
    """(gray level or reason) of every item."""
    with workers.Workers(OPTIONS, processes, timeout) as pool:
        return [
            "skipped" if outcome is None else outcome.reason or int(record[0])
            for _, outcome, record in pool.prepare(items)
        ]


@pytest.fixture
def wicked(monkeypatch):
    """Workers whose decoder crashes and hangs when told to."""
    monkeypatch.setattr(workers, "PROGRAM", Path(__file__).with_name("wicked_worker.py"))


def test_records_come_in_the_order_of_the_source():
    levels = [(37 * i) % 256 for i in range(60)]
    assert results([entry(png(level)) for level in levels], processes=2) == levels


def test_everything_that_can_hold_an_image_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(png(1) + png(2))
    first = len(png(1))
    missing = tmp_path / "missing"
    gray = np.full((8, 8), 3, np.uint8)
    items = [
        entry(path),
        entry(Span(path, first, len(png(2)))),
        entry(png(3)),
        entry(gray),
        entry(missing),
        Skipped("train", "y", "hidden", ""),
        entry(Span(path, first, 10_000)),
        entry(np.zeros((8, 8), np.float32)),
    ]
    wanted = [1, 2, 3, 3, "unreadable", "skipped", "truncated", "unsupported"]
    assert results(items) == wanted


def test_pixels_need_no_process(monkeypatch):
    monkeypatch.setattr(workers, "PROGRAM", Path("nowhere"))
    assert results([entry(np.full((8, 8, 3), level, np.uint8)) for level in (5, 6)]) == [5, 6]


@pytest.mark.usefixtures("wicked")
def test_a_crash_costs_only_its_image():
    images = [png(1), b"crash", png(2), b"crash", png(3)]
    wanted = [1, "decoder_crashed", 2, "decoder_crashed", 3]
    assert results([entry(image) for image in images], processes=2) == wanted


@pytest.mark.usefixtures("wicked")
def test_a_hang_costs_only_its_image():
    assert results([entry(i) for i in (png(1), b"hang", png(2))], timeout=1.0) == [
        1,
        "decoder_hung",
        2,
    ]


@pytest.mark.usefixtures("wicked")
def test_a_worker_that_was_killed_once_costs_nothing(tmp_path):
    told = b"once " + os.fsencode(tmp_path / "killed") + b"\0" + png(2)
    assert results([entry(png(1)), entry(told), entry(png(3))]) == [1, 2, 3]


def test_a_process_that_cannot_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(workers, "PROGRAM", program)
    with pytest.raises(RuntimeError, match=r"did not start \(.*\): no such thing"):
        results([entry(png(1))])


def test_workers_do_not_outlive_the_packer_even_while_they_hang(tmp_path):
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from pathlib import Path
import test_workers
from test_workers import *
workers.PROGRAM = Path(test_workers.__file__).with_name("wicked_worker.py")
with workers.Workers(OPTIONS, 1, 60.0) as pool:
    for _ in pool.prepare([entry(png(1)), entry(b"hang")]):
        print(pool._workers[0].process.pid, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    worker = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and alive(worker):
        time.sleep(0.02)
    assert not alive(worker)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_does_not_import_torch():
    code = "import sys, alexnet.images.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_encoded_bytes_in_flight_have_a_bound_and_are_given_back(monkeypatch):
    monkeypatch.setattr(workers, "IN_FLIGHT", 4 << 20)
    ahead = [0]

    def items():
        for number in range(24):
            ahead[0] += 1
            yield Entry("train", f"{number}.jpg", 0, bytes(3 << 20))

    with workers.Workers(OPTIONS, 2, 30.0) as decoding:
        for done, (_, outcome, _) in enumerate(decoding.prepare(items())):
            assert outcome.reason == "not_an_image"
            assert ahead[0] - done <= 2
            inboxes = [worker._inbox.fileno() for worker in decoding._workers]
            stored = sum(512 * os.fstat(inbox).st_blocks for inbox in inboxes)
            assert stored <= 7 << 20 or not hasattr(mmap, "MADV_REMOVE")
    assert ahead[0] == 24
