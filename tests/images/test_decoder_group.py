"""A group of decoding processes: records in order, and no image ends the pass."""

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

from alexnet.images import decoder_group, decoder_process
from alexnet.images.preparation import RecordOptions
from alexnet.sources.entry import Entry, Skipped, Span

OPTIONS = RecordOptions(size=8)


def png(level: int) -> bytes:
    """A gray square."""
    memory = io.BytesIO()
    Image.new("RGB", (8, 8), (level,) * 3).save(memory, "PNG")
    return memory.getvalue()


def entry(content, name="x.png") -> Entry:
    return Entry("train", name, 0, content)


def results(items, n_processes=1, timeout=30.0):
    """The gray level of every record, or the reason why there is none."""
    with decoder_group.DecoderGroup(OPTIONS, n_processes, timeout) as group:
        return [
            "skipped" if result is None else result.reason or int(record[0])
            for _, result, record in group.prepare(items)
        ]


@pytest.fixture
def misbehaving(monkeypatch):
    """Processes whose decoder crashes and hangs when the bytes of an image say so."""
    monkeypatch.setattr(
        decoder_process, "PROGRAM", Path(__file__).with_name("misbehaving_decoder.py")
    )


def test_records_come_in_the_order_of_the_source():
    levels = [(37 * i) % 256 for i in range(60)]
    assert results([entry(png(level)) for level in levels], n_processes=2) == levels


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


def test_pixels_are_prepared_without_a_process(monkeypatch):
    monkeypatch.setattr(decoder_process, "PROGRAM", Path("nowhere"))
    assert results([entry(np.full((8, 8, 3), level, np.uint8)) for level in (5, 6)]) == [5, 6]


@pytest.mark.usefixtures("misbehaving")
def test_a_crash_costs_only_the_image_that_caused_it():
    images = [png(1), b"crash", png(2), b"crash", png(3)]
    wanted = [1, "decoder_crashed", 2, "decoder_crashed", 3]
    assert results([entry(image) for image in images], n_processes=2) == wanted


@pytest.mark.usefixtures("misbehaving")
def test_a_hang_costs_only_the_image_that_caused_it():
    assert results([entry(i) for i in (png(1), b"hang", png(2))], timeout=1.0) == [
        1,
        "decoder_hung",
        2,
    ]


@pytest.mark.usefixtures("misbehaving")
def test_a_process_that_was_killed_once_costs_no_image(tmp_path):
    told = b"once " + os.fsencode(tmp_path / "killed") + b"\0" + png(2)
    assert results([entry(png(1)), entry(told), entry(png(3))]) == [1, 2, 3]


def test_a_process_that_cannot_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(decoder_process, "PROGRAM", program)
    with pytest.raises(RuntimeError, match=r"did not start \(.*\): no such thing"):
        results([entry(png(1))])


def test_a_hanging_process_ends_with_its_parent(tmp_path):
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from pathlib import Path
import test_decoder_group
from test_decoder_group import *
decoder_process.PROGRAM = Path(test_decoder_group.__file__).with_name("misbehaving_decoder.py")
with decoder_group.DecoderGroup(OPTIONS, 1, 60.0) as group:
    for _ in group.prepare([entry(png(1)), entry(b"hang")]):
        print(group._processes[0].process.pid, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    decoder = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and alive(decoder):
        time.sleep(0.02)
    assert not alive(decoder)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_decoding_process_does_not_import_torch():
    code = "import sys, alexnet.images.decoder_program; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_encoded_bytes_that_wait_are_limited_and_their_memory_is_released(monkeypatch):
    monkeypatch.setattr(decoder_group, "IN_FLIGHT", 4 << 20)
    ahead = [0]

    def items():
        for number in range(24):
            ahead[0] += 1
            yield Entry("train", f"{number}.jpg", 0, bytes(3 << 20))

    with decoder_group.DecoderGroup(OPTIONS, 2, 30.0) as group:
        for done, (_, result, _) in enumerate(group.prepare(items())):
            assert result.reason == "not_an_image"
            assert ahead[0] - done <= 2
            inboxes = [process._inbox.fileno() for process in group._processes]
            stored = sum(512 * os.fstat(inbox).st_blocks for inbox in inboxes)
            assert stored <= 7 << 20 or not hasattr(mmap, "MADV_REMOVE")
    assert ahead[0] == 24
