"""Writing the files of one split: shards of records, labels, names and hashes, only ever appended.

Plain writes, not memory maps: a full disk is an error here, and would be a crash there.
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

from alexnet.packing.direct import DirectWriter
from alexnet.packing.journal import SplitState
from alexnet.packs.pack import HEADER_BYTES, escape

HASHES = "hashes.bin"


class SplitWriter:
    """Appends images to a split, from where its state says that it stands."""

    def __init__(
        self, folder: Path, state: SplitState, shape: tuple[int, ...], shard_images: int
    ) -> None:
        self.folder, self.state, self.shape, self.shard_images = folder, state, shape, shard_images
        self._shard: DirectWriter | None = None
        self._count = self._crc = 0
        folder.mkdir(exist_ok=True)
        self._forget_unfinished()
        labels = folder / "labels.npy"
        if not labels.exists():
            labels.write_bytes(header(np.int64, (0,)))
        self._labels = open_at(labels, HEADER_BYTES + 8 * state.images)
        self._names = open_at(folder / "names.txt", state.names_bytes)
        self._hashes = open_at(folder / HASHES, 8 * state.images)

    def _forget_unfinished(self) -> None:
        finished = {Path(shard["file"]).name for shard in self.state.shards}
        for path in self.folder.glob("images-*.npy"):
            if path.name not in finished:
                path.unlink()

    @property
    def full(self) -> bool:
        """Whether the shard is complete: it is time to commit."""
        return self._count == self.shard_images

    def append(self, record: NDArray[np.uint8], label: int, name: str, digest: bytes) -> None:
        """Add one image."""
        if self._shard is None:
            self._shard = DirectWriter(self._shard_path)
            self._shard.write(memoryview(header(np.uint8, (self.shard_images, *self.shape))))
        self._shard.write(record.data)
        self._crc = zlib.crc32(record.data, self._crc)
        self._count += 1
        state = self.state
        state.images += 1
        label_bytes, line = np.int64(label).tobytes(), (escape(name) + "\n").encode()
        self._labels.write(label_bytes)
        self._names.write(line)
        self._hashes.write(digest)
        state.labels_crc = zlib.crc32(label_bytes, state.labels_crc)
        state.names_crc = zlib.crc32(line, state.names_crc)
        state.names_bytes += len(line)

    @property
    def _shard_path(self) -> Path:
        return self.folder / f"images-{len(self.state.shards):05}.npy"

    def commit(self) -> None:
        """Complete the shard, and see that everything is on disk; the state then says so."""
        if self._shard is not None:
            self._shard.finish(header(np.uint8, (self._count, *self.shape)))
            file = f"{self.folder.name}/{self._shard_path.name}"
            self._shard = None
            self.state.shards.append(
                {"file": file, "images": self._count, "crc32": f"{self._crc:08x}"}
            )
            self._count = self._crc = 0
        for opened in (self._labels, self._names, self._hashes):
            sync(opened)

    def finish(self) -> None:
        """Commit, and give the labels their final header."""
        self._labels.seek(0)
        self._labels.write(header(np.int64, (self.state.images,)))
        self.commit()

    def close(self) -> None:
        """Close the files, in whatever state they are."""
        for opened in (self._shard, self._labels, self._names, self._hashes):
            with contextlib.suppress(OSError):  # what a full disk refused is refused once more
                if opened is not None:
                    opened.close()


def open_at(path: Path, end: int) -> IO[bytes]:
    """A file cut to its first `end` bytes and opened there."""
    path.touch()
    if (found := path.stat().st_size) < end:
        raise ValueError(f"{path} has {found} bytes, not {end}: delete the pack and pack again")
    file = open(path, "r+b")  # noqa: SIM115 - closed by its owner
    file.truncate(end)
    file.seek(end)
    return file


def header(kind: type[np.generic], shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file, always of the same length, so that the shape can change later."""
    stream = io.BytesIO()
    fields = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    if len(stream.getvalue()) != HEADER_BYTES:
        raise ValueError(f"no .npy header of {HEADER_BYTES} bytes for {kind} {shape}")
    return stream.getvalue()


def sync(file: IO[bytes]) -> None:
    """See that what was written is on disk."""
    file.flush()
    os.fsync(file.fileno())


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write a .npy file to disk."""
    with open(path, "wb") as file:
        file.write(header(array.dtype.type, array.shape))
        file.write(np.ascontiguousarray(array).data)
        sync(file)
