"""Large files written past the page cache: the same bytes whatever the file system can do."""

import errno
import os

import numpy as np
import pytest

from alexnet.packing import direct
from alexnet.packing.direct import DirectWriter

BLOCK = 1 << 12


@pytest.fixture
def parts(monkeypatch):
    """Pieces of every kind: of less than a block, of exactly one, and of several."""
    monkeypatch.setattr(direct, "BLOCK_BYTES", BLOCK)
    chance = np.random.default_rng(0)
    sizes = 128, 100, BLOCK - 228, BLOCK, 3 * BLOCK + 5, 1, 0, 77
    return [chance.integers(0, 256, size, np.uint8) for size in sizes]


def written(path, parts, start=b""):
    writer = DirectWriter(path)
    for part in parts:
        writer.write(part.data)
    writer.finish(start)
    return path.read_bytes()


def test_a_file_holds_what_was_written_with_its_start_replaced(tmp_path, parts):
    whole = b"".join(part.tobytes() for part in parts)
    assert written(tmp_path / "a", parts) == whole
    assert written(tmp_path / "b", parts, b"HEAD") == b"HEAD" + whole[4:]
    assert written(tmp_path / "c", []) == b""


def test_file_systems_without_direct_writes_get_buffered_writes(tmp_path, parts, monkeypatch):
    if not direct.DIRECT:
        pytest.skip("this system has no direct writes")
    whole, refused = b"".join(part.tobytes() for part in parts), []
    opened, write = os.open, os.pwrite

    def open_(path, flags, *mode):
        if flags & direct.DIRECT:
            refused.append("open")
            raise OSError(errno.EINVAL, "no direct writes")
        return opened(path, flags, *mode)

    def pwrite(file, content, offset):
        if direct.fcntl.fcntl(file, direct.fcntl.F_GETFL) & direct.DIRECT:
            refused.append("write")
            raise OSError(errno.EINVAL, "no direct writes")
        return write(file, content, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert written(tmp_path / "opened", parts) == whole
    monkeypatch.setattr(os, "open", open_)
    assert written(tmp_path / "not opened", parts) == whole
    assert "open" in refused


def test_a_short_write_is_continued_and_a_full_disk_is_an_error(tmp_path, parts, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[:512], at))
    assert written(tmp_path / "a", parts) == b"".join(part.tobytes() for part in parts)

    def full(file, content, at):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "b", parts)
