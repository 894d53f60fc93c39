"""Writes the files of one split: shards of records, labels, names, origins and hashes.

All of them are only appended to. After a kill, the next `SplitWriter` truncates them to the lengths
in the journal and deletes the shard that was not complete. Files are written with `write`, not
through memory maps: when the disk is full, a write raises OSError, but a store to a memory map
kills the process (SIGBUS). `packing.loop` calls this module; it never saves the journal itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from alexnet.images.preparation import PreparationResult
from alexnet.packing.direct import DirectWriter
from alexnet.packing.journal import SplitState
from alexnet.packing.origins import COLUMNS, make_origin
from alexnet.packs.checked_files import HEADER_BYTES, escape
from alexnet.packs.schema import ORIGINS
from alexnet.sources.entry import Entry

HASHES = "hashes.bin"
"""File of the 64-bit hashes of the records of a split. Removed when the pack is finished."""


class SplitWriter:
    """Appends images to a split, continuing from its state, and keeps that state up to date.

    Raises ValueError if a file is shorter than the state says.
    """

    def __init__(
        self, folder: Path, state: SplitState, shape: tuple[int, ...], shard_images: int
    ) -> None:
        self.folder, self.state, self.shape, self.shard_images = folder, state, shape, shard_images
        self._shard: DirectWriter | None = None
        self._count = self._crc = 0
        folder.mkdir(exist_ok=True)
        self._remove_incomplete()
        labels = folder / "labels.npy"
        if not labels.exists():
            labels.write_bytes(make_header(np.int64, (0,)))
        self._labels = open_at(labels, HEADER_BYTES + 8 * state.images)
        self._names = open_at(folder / "names.txt", state.names_bytes)
        self._origins: IO[bytes] | None = None
        if state.origins_crc is not None:
            self._origins = self._open_origins(state.images)
        self._hashes = open_at(folder / HASHES, 8 * state.images)

    def _open_origins(self, n_images: int) -> IO[bytes]:
        """Open origins.npy after the rows of so many images."""
        path = self.folder / ORIGINS
        if not path.exists():
            path.write_bytes(make_header(np.uint64, (0, COLUMNS)))
        return open_at(path, HEADER_BYTES + 8 * COLUMNS * n_images)

    def _remove_incomplete(self) -> None:
        """Delete shards that the journal does not list."""
        complete = {Path(shard["file"]).name for shard in self.state.shards}
        for path in self.folder.glob("images-*.npy"):
            if path.name not in complete:
                path.unlink()

    @property
    def is_full(self) -> bool:
        """Whether the current shard has all its images, so that it is time to commit."""
        return self._count == self.shard_images

    def append(self, record: NDArray[np.uint8], entry: Entry, outcome: PreparationResult) -> None:
        """Append one image: its record, its label, its name, its origin and its hash."""
        if self._shard is None:
            self._shard = DirectWriter(self._shard_path)
            self._shard.write(memoryview(make_header(np.uint8, (self.shard_images, *self.shape))))
        self._shard.write(record.data)
        self._crc = zlib.crc32(record.data, self._crc)
        self._count += 1
        state = self.state
        state.images += 1
        label_bytes, line = np.int64(entry.label).tobytes(), (escape(entry.name) + "\n").encode()
        self._labels.write(label_bytes)
        self._names.write(line)
        self._hashes.write(outcome.digest)
        if self._origins is not None and state.origins_crc is not None:
            origin = make_origin(entry, outcome).tobytes()
            self._origins.write(origin)
            state.origins_crc = zlib.crc32(origin, state.origins_crc)
        state.labels_crc = zlib.crc32(label_bytes, state.labels_crc)
        state.names_crc = zlib.crc32(line, state.names_crc)
        state.names_bytes += len(line)

    @property
    def _shard_path(self) -> Path:
        """Path of the current shard, which has the number after the last complete one."""
        return self.folder / f"images-{len(self.state.shards):05}.npy"

    def commit(self) -> None:
        """Complete the shard, flush all files to the disk and add the shard to the state.

        A shard begins with the header of a full one; here it gets the header of its real length.
        """
        if self._shard is not None:
            self._shard.finish(make_header(np.uint8, (self._count, *self.shape)))
            file = f"{self.folder.name}/{self._shard_path.name}"
            self._shard = None
            self.state.shards.append(
                {"file": file, "images": self._count, "crc32": f"{self._crc:08x}"}
            )
            self._count = self._crc = 0
        for opened in (self._labels, self._names, self._hashes, self._origins):
            if opened is not None:
                sync(opened)

    def finish(self) -> None:
        """Write the final headers of the labels and the origins, then commit."""
        self._labels.seek(0)
        self._labels.write(make_header(np.int64, (self.state.images,)))
        if self._origins is not None:
            self._origins.seek(0)
            self._origins.write(make_header(np.uint64, (self.state.images, COLUMNS)))
        self.commit()

    def close(self) -> None:
        """Close the files, whether complete or not."""
        files = self._labels, self._names, self._hashes, self._origins
        for opened in (self._shard, *files):
            with contextlib.suppress(OSError):  # a full disk rejects buffered bytes again
                if opened is not None:
                    opened.close()


def open_at(path: Path, end: int) -> IO[bytes]:
    """Truncate a file to its first `end` bytes and open it for appending there.

    A missing file is created. Raises ValueError if the file is shorter than `end`.
    """
    path.touch()
    if (size := path.stat().st_size) < end:
        raise ValueError(f"{path} has {size} bytes, not {end}: delete the pack and pack again")
    file = open(path, "r+b")  # noqa: SIM115 - closed by its owner
    file.truncate(end)
    file.seek(end)
    return file


def make_header(kind: type[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the header of a .npy file, always 128 bytes, so that the shape can be replaced."""
    stream = io.BytesIO()
    fields = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    if len(stream.getvalue()) != HEADER_BYTES:
        raise ValueError(f"no .npy header of {HEADER_BYTES} bytes for {kind} {shape}")
    return stream.getvalue()


def sync(file: IO[bytes]) -> None:
    """Flush what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an array to a .npy file and flush it to the disk."""
    with open(path, "wb") as file:
        file.write(make_header(array.dtype.type, array.shape))
        file.write(np.ascontiguousarray(array).data)
        sync(file)
