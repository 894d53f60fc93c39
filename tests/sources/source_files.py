"""Folders and archives in the forms that data sets are published in, a few bytes each."""

import io
import tarfile
from pathlib import Path

from alexnet.sources import Entry, Skipped, Source, Span


def write(folder: Path, *names: str) -> Path:
    """Files below `folder`, each holding its own name."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


def tar(files: dict[str, bytes]) -> bytes:
    """An uncompressed archive of these files."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return memory.getvalue()


def tar_folder(folder: Path, archive: Path) -> Path:
    """`folder` and all that is in it, by tar, compressed as the archive's name says."""
    kind = archive.suffix.lstrip(".").replace("tgz", "gz").replace("tar", "")
    with tarfile.open(archive, f"w:{kind}") as out:
        out.add(folder, arcname=folder.name)
    return archive


def content(entry: Entry) -> bytes:
    """The bytes of an entry, wherever they are."""
    if isinstance(entry.content, Path):
        return entry.content.read_bytes()
    return entry.content.read() if isinstance(entry.content, Span) else bytes(entry.content)


def used(source: Source, split: str) -> dict[str, str]:
    """Name → class of the images of a split."""
    return {
        entry.name: source.classes[entry.label] if entry.label >= 0 else "?"
        for entry in source.entries(split)
        if isinstance(entry, Entry)
    }


def skipped(source: Source, split: str) -> dict[str, str]:
    """Name → reason of what a split does not use."""
    return {item.name: item.reason for item in source.entries(split) if isinstance(item, Skipped)}


PETS = ("train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "val/dog/4.jpg")


def split_folders(folder: Path, *more: str) -> Path:
    """The files of PETS, and more, below `folder`."""
    return write(folder, *PETS, *more)
