"""The public functions that make packs: `pack` from an open source, `pack_images` from a path.

If a call is killed at any moment, a second call resumes where it stopped. The finished pack is byte
for byte the same as from one uninterrupted call, with any number of processes. If the images have
changed since, it is updated: only what changed is decoded, and the result is the same as that of
packing anew. The memory needed hardly grows with the number of images. This module checks
arguments, locks the folder and decides what to do; `packing.loop` does the work. `alexnet.packing`
has an overview.
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

from alexnet.files import lock_folder
from alexnet.images.decoder_group import DecoderGroup, count_cores
from alexnet.images.memory import MAX_PIXELS
from alexnet.images.preparation import RecordOptions, compute_fingerprint
from alexnet.images.records import Format, record_shape
from alexnet.images.resizing import Fit
from alexnet.packing.arguments import check_options, check_place
from alexnet.packing.journal import read_journal
from alexnet.packing.loop import Packing
from alexnet.packing.origins import KnownRecords
from alexnet.packing.progress import PackingProgress
from alexnet.packing.resume import (
    SourceChanged,
    can_read_more,
    check_same_pack,
    is_current,
    is_resumable,
)
from alexnet.packing.sharing import Helpers
from alexnet.packing.versions import (
    begin,
    find_begun,
    list_known,
    read_valid,
    remove_others,
    remove_packing_files,
)
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources.entry import Source
from alexnet.sources.recognition import open_source
from alexnet.terminal import format_count

DEFAULT_SIZE = 256
"""Width and height in pixels of packed photographs, as in section 2 of the paper."""
SHARD_BYTES = 1 << 29
"""Approximate size of a shard."""
IGNORES_EXIF = "ilsvrc"
"""Sources whose kind begins with this text are read as in 2012, when EXIF was ignored."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota and a file larger than allowed."""


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
    progress: Callable[[PackingProgress], None] | None = None,
    say: Callable[[str], object] = lambda text: None,
    helpers: Helpers | None = None,
) -> Pack:
    """Pack a source into the folder `out`, resume that packing, update or open the finished pack.

    `size` defaults to the size of the source's images if they all share one, else to 256.
    `upright` turns images as their EXIF orientation says. By default it is on, except for the
    archives of the ILSVRC challenge, which are read as in the paper; a packing that was begun keeps
    its setting. An image whose decoder crashes, or does not answer for `timeout` seconds, is tried
    once more and then skipped. `progress` is called about ten times per second, and `say` with
    sentences about an update. Until an update is complete, the pack is as it was before. `helpers`
    are other processes that decode, too (`packing.sharing`).

    Raises ValueError for invalid options and for a folder with other contents; OtherPack (a
    ValueError) if the folder holds a pack of other images or settings; BlockingIOError if another
    process is packing there; OSError if the disk is full.
    """
    out = Path(out)
    given = {"size": size, "fit": fit, "pixels": pixels, "processes": processes}
    limits = {"max_pixels": max_pixels, "timeout": timeout, "shard_images": shard_images}
    check_options(given | limits)
    check_place(out)
    size = size or source.native_size or DEFAULT_SIZE
    upright = _choose_upright(source, out) if upright is None else upright
    options = RecordOptions(size, fit, pixels, upright, max_pixels)
    shard_images = shard_images or max(1, SHARD_BYTES // options.record_bytes)
    processes = processes or count_cores()
    record_shape(size, pixels)  # raises ValueError for yuv420 and images of an odd size
    if source.path.is_dir() and out.resolve().is_relative_to(source.path.resolve()):
        raise ValueError(f"{out} is inside {source.path}, its source: choose another folder")
    metadata = _make_metadata(source, options, shard_images)
    with _explain_full_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    with _explain_full_disk(out), lock_folder(out, "packing"):
        valid = read_valid(out)
        if valid is not None:
            check_same_pack(out, valid, metadata)
        if valid is None or not is_current(source, valid, metadata):
            if valid is not None:
                say(_explain_update(source, out, valid))
            with DecoderGroup(options, processes, timeout) as workers:
                packing = _pack_version(
                    source, out, valid, metadata, options, workers, progress, helpers
                )
            if packing.known:
                say(_describe_update(packing.known))
        made = open_pack(out)
        remove_packing_files(made.folder)  # this call or an earlier one may have been killed
        remove_others(out, made.folder)
    return made


def _pack_version(
    source: Source,
    out: Path,
    valid: dict[str, Any] | None,
    metadata: dict[str, Any],
    options: RecordOptions,
    workers: DecoderGroup,
    progress: Callable[[PackingProgress], None] | None,
    helpers: Helpers | None,
) -> Packing:
    """Make a new version of a pack, or continue the newest that was begun, until it is valid.

    What was begun and is out of date is still of use: its records are not made again.
    """
    may_resume = True
    while True:
        begun = find_begun(out, valid)
        for _, other in begun:
            check_same_pack(out, other.about, metadata)
        if may_resume and begun and is_resumable(begun[-1][1].about, metadata):
            folder, journal = begun.pop()
        else:
            folder, journal = begin(out, metadata)
        journal.about = metadata
        known = KnownRecords(list_known(out, valid, begun))
        shard_images = metadata["shard_images"]
        packing = Packing(source, folder, options, shard_images, journal, known, helpers)
        try:
            packing.run(workers, progress)
        except SourceChanged:
            may_resume = False
            continue
        packing.finish(out)
        return packing


def _explain_update(source: Source, out: Path, valid: dict[str, Any]) -> str:
    """Say why a pack is updated."""
    if can_read_more(valid):
        return f"HEIF photographs of {source.path} can be read now: {out} is updated."
    return f"{source.path} has changed since {out} was packed: the pack is updated."


def _describe_update(known: KnownRecords) -> str:
    """Describe how much of a pack was of use for its new version."""
    images, files = format_count(known.n_used, "image"), format_count(known.n_unknown, "file")
    return f"Updated: {images} kept as before, {files} decoded."


def _choose_upright(source: Source, out: Path) -> bool:
    """Return the default of `upright`: that of the pack in `out`, if any, else the source's.

    Raises ValueError if that pack or its journal is damaged.
    """
    if (valid := read_valid(out)) is not None:
        return bool(valid.get("upright", False))
    if (journal := read_journal(out)) is not None:
        return bool(journal.about.get("upright", False))
    return not source.kind.startswith(IGNORES_EXIF)


def pack_images(
    images: str | Path,
    out: str | Path,
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    group_by: str = "",
    val_list: str | Path | None = None,
    test_list: str | Path | None = None,
    **options: Any,
) -> Pack:
    """Pack the labeled images of a folder, a list or an archive (see `sources.open.open_source`).

    If the source has no validation split, `val_fraction` of each class is held out for it, chosen
    by `seed`; with `group_by` (a pattern, or a column of a list), whole groups of images. Or
    `val_list` and `test_list` are text files with the names of images. If there is a pack of these
    images at `out`, it is updated: only images that changed are decoded. Other options:

    size: side of the packed images in pixels; by default that of the images if they all share one,
        else 256.
    fit: "crop" takes the middle square of an image, "pad" adds gray, "squash" distorts it.
    pixels: "rgb", or "yuv420", which takes half the space.
    upright: turn images as their EXIF orientation says; by default, except for ILSVRC archives.
    processes: how many decode; by default one for each core.
    max_pixels, timeout: larger images, and those that take more seconds to decode, are not used.
    progress: called with a PackingProgress about ten times per second.

    Raises FileNotFoundError if there are no images; ValueError for invalid options, and for a
    folder `out` with other contents or with a pack of other images or settings; BlockingIOError if
    another process is packing there; OSError if the disk is full.

    >>> alexnet.pack("photos", "small.pack", size=32, val_fraction=0.2)
    Pack('small.pack': 48 train, 12 val images of 32×32 pixels; 2 classes: 'cats', 'dogs')
    """
    check_options(options)
    source = open_source(
        images,
        val_fraction=val_fraction,
        seed=seed,
        group_by=group_by,
        val_list=val_list,
        test_list=test_list,
    )
    return pack(source, out, **options)


def _make_metadata(source: Source, options: RecordOptions, shard_images: int) -> dict[str, Any]:
    """Return the source and the options as recorded in pack.json and in the journal.

    A packing resumes only if they are unchanged.
    """
    return {
        **dataclasses.asdict(options),
        "shard_images": shard_images,
        "classes": list(source.classes),
        "wordnet_ids": None if source.wordnet_ids is None else list(source.wordnet_ids),
        "source": {
            "kind": source.kind,
            "path": _record_path(source.path),
            "splits": list(source.splits),
        },
        "division": source.division,
        "evaluation": source.evaluation_split,
        "archive": describe_archive(source),
        "remarks": list(source.remarks),
    }


def describe_archive(source: Source) -> str | None:
    """Return the size and time of modification of an archive; None for a folder or a list."""
    return compute_fingerprint(source.path) if source.path.is_file() else None


def _record_path(path: Path) -> str:
    """Return the absolute path of a source, or its name if it is no path (`digits`)."""
    return os.path.abspath(path) if path.exists() else str(path)


@contextlib.contextmanager
def _explain_full_disk(out: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says how much is free and how to resume."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        free = shutil.disk_usage(out).free / 1e9
        message = (
            f"no space for {out} ({error.strerror}; {free:.1f} GB are free on its volume): free "
            "some space and give the same command again: it continues where it stopped"
        )
        raise OSError(error.errno, message) from error
