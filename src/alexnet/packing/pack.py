"""Labeled images into a pack: decoded once, brought to one size, and written in shards.

Killed at any moment, a second call goes on where the first one stopped, and the pack is byte for
byte what one call would have made, whatever the number of processes. Memory does not grow with the
number of images.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alexnet.files import LOCK, lock_folder
from alexnet.images.decoder_group import DecoderGroup
from alexnet.images.memory import MAX_PIXELS
from alexnet.images.preparation import RecordOptions
from alexnet.images.records import Format, record_shape
from alexnet.images.resizing import FITS, Fit
from alexnet.packing.journal import NAME, Journal, SplitState, read_journal
from alexnet.packing.loop import OtherPack, Packing, changed, clear_up, identity
from alexnet.packing.progress import Progress
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources.entry import Entry, Source
from alexnet.sources.recognition import open_source

PHOTOGRAPH = 256
"""Side of a packed photograph, as in section 2 of the paper."""
SHARD_BYTES = 1 << 29
AS_THE_PAPER = "ilsvrc"
"""Sources whose kind begins so are read as in 2012: without a look at EXIF."""
MAY_BE_THERE = LOCK, f".{NAME}.partial", f"{NAME}.part"
"""What a packing that was killed at its beginning leaves behind; the last by earlier versions."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def pack(
    source: Source,
    out: str | Path,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    pixels: Format = "rgb",
    processes: int | None = None,
    upright: bool | None = None,
    max_pixels: int = MAX_PIXELS,
    timeout: float = 30.0,
    shard_images: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Pack:
    """Pack a source into the folder `out`, or go on with it, or open it where it is finished.

    `size` is the source's own where it has one, else 256. `upright` turns images as their EXIF
    orientation says: by default all but those of the challenge's own archives, which are read as
    the paper read them; a packing that was begun keeps to what it began with. An image whose
    decoder crashes, or does not answer for `timeout` seconds, is given up at the second attempt.
    Raises ValueError for options that cannot be and for a folder that holds something else,
    OtherPack (a ValueError) for another pack or one of a source that has changed since; OSError
    where the disk is full.
    """
    out = Path(out)
    size = size or source.native_size or PHOTOGRAPH
    upright = _is_upright(source, out) if upright is None else upright
    options = RecordOptions(size, fit, pixels, upright, max_pixels)
    shard_images = shard_images or max(1, SHARD_BYTES // options.record_bytes)
    processes = processes or cores()
    _check(source, out, options, processes, shard_images)
    about = _about(source, options, shard_images)
    with _plain_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with _plain_disk_errors(out), lock_folder(out, "packing"):
        if (out / "pack.json").exists():
            return _finished(source, out, about)
        packing = Packing(source, out, options, shard_images, _begin(out, about))
        with DecoderGroup(options, processes, timeout) as workers:
            packing.run(workers, progress)
        packing.finish()
    return open_pack(out)


def _is_upright(source: Source, out: Path) -> bool:
    """Whether images are turned where nobody has said so: as in what is there, else by the source.

    Raises ValueError for a pack or a journal that is damaged.
    """
    if (out / "pack.json").exists():
        return bool(open_pack(out).facts.get("upright", False))
    if (journal := read_journal(out)) is not None:
        return bool(journal.about.get("upright", False))
    return not source.kind.startswith(AS_THE_PAPER)


def cores() -> int:
    """Cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def pack_images(
    images: str | Path,
    out: str | Path,
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    **options: Any,
) -> Pack:
    """Pack labeled images wherever they are: a folder, a list, an archive (see `open_source`).

    The options are those of `pack`.
    """
    return pack(open_source(images, val_fraction=val_fraction, seed=seed), out, **options)


def _check(
    source: Source, out: Path, options: RecordOptions, processes: int, shard_images: int
) -> None:
    """Refuse at the door what could only fail later."""
    if options.fit not in FITS:
        raise ValueError(f"fit {options.fit!r}: there are {', '.join(FITS)}")
    for name, number in (
        ("size", options.size),
        ("processes", processes),
        ("shard_images", shard_images),
        ("max_pixels", options.max_pixels),
    ):
        if number < 1:
            raise ValueError(f"{name} is {number}: it is at least 1")
    record_shape(options.size, options.pixels)
    if source.path.is_dir() and out.resolve().is_relative_to(source.path.resolve()):
        raise ValueError(f"{out} is inside {source.path}, its source: choose another folder")


def _about(source: Source, options: RecordOptions, shard_images: int) -> dict[str, Any]:
    """What a pack says of its origin, and what has to be equal for a packing to go on."""
    return {
        **dataclasses.asdict(options),
        "shard_images": shard_images,
        "classes": list(source.classes),
        "wordnet_ids": None if source.wordnet_ids is None else list(source.wordnet_ids),
        "source": {
            "kind": source.kind,
            "path": _absolute(source.path),
            "splits": list(source.splits),
        },
        "division": source.division,
        "remarks": list(source.remarks),
    }


def _absolute(path: Path) -> str:
    """Where a source is, from whichever folder a command is given later; or what it is called."""
    return os.path.abspath(path) if path.exists() else str(path)


@contextlib.contextmanager
def _plain_disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        free = shutil.disk_usage(out).free / 1e9
        message = (
            f"no space for {out} ({error.strerror}; {free:.1f} GB are free on its volume): make "
            "room and give the same command again, it goes on where it stopped"
        )
        raise OSError(error.errno, message) from error


def _finished(source: Source, out: Path, about: dict[str, Any]) -> Pack:
    """The pack that is there already, if it is the one that was asked for."""
    ready = open_pack(out)
    _check_same(out, ready.facts, about)
    clear_up(out)  # it may have been killed between its last two steps
    for split in source.splits:
        seen = SplitState()
        for item in source.entries(split):
            if isinstance(item, Entry) and not isinstance(item.content, Path):
                return ready  # archives are not read again to see whether they have changed
            seen.pass_by(*identity(item, None))
        if seen.chain != ready.facts["splits"][split]["chain"]:
            raise OtherPack(changed(source, out), out)
    return ready


def _begin(out: Path, about: dict[str, Any]) -> Journal:
    """The journal of the packing that was interrupted here, or a new one."""
    journal = read_journal(out)
    if journal is not None:
        _check_same(out, journal.about, about)
        return journal
    if any(path.name not in MAY_BE_THERE for path in out.iterdir()):
        raise ValueError(f"{out} is not empty and not a pack: choose a new folder")
    journal = Journal(about, {split: SplitState() for split in about["source"]["splits"]})
    journal.save(out)
    return journal


def _check_same(out: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise OtherPack if the pack there is of other images or settings than those wanted."""
    if different := [what for key in wanted if (what := _difference(key, there, wanted))]:
        what = f"{out} already holds a pack with other settings ({'; '.join(different)})"
        raise OtherPack(what, out)
    if wanted["division"] and "division" not in there:
        what = (
            f"{out} was packed by an earlier version, which held out a share of all images and not "
            "of each class (it can be used as it is, where a pack is wanted)"
        )
        raise OtherPack(what, out)


def _difference(key: str, there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In what a pack's description departs from the one wanted; empty if it does not."""
    found, want = there.get(key), wanted[key]
    if key == "remarks" or found == want or (key == "division" and key not in there):
        return ""  # remarks are words about the rest
    if key == "source" and isinstance(found, dict):
        found, want = (_of_source(facts) for facts in (found, want))
    if found == want:
        return ""
    return key if key == "classes" else f"{key} {found}, not {want}"


def _of_source(facts: dict[str, Any]) -> str:
    """Which images a pack is of; earlier versions kept paths as they were given."""
    splits = ", ".join(map(str, facts.get("splits", ())))
    return f"{facts.get('kind')} {os.path.abspath(str(facts.get('path')))} ({splits})"
