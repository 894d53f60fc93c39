"""The pack that a run is measured on.

It is the pack that the user names, or the one that the run was trained on, or a new pack: images
that are not a pack are packed first (`packing.automatic`), with the options that the network needs.
`scores` and the commands call this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from alexnet import checkpoint as checkpoints
from alexnet import runs
from alexnet.checkpoint import Checkpoint
from alexnet.packing.automatic import (
    ADOPTED,
    has_changed,
    open_source_of,
    pack_name,
    pack_next_to_run,
)
from alexnet.packs.pack import Pack, open_pack
from alexnet.sources import Entry, Source, digits, open_source
from alexnet.sources.names import quote_names

MakePack = Callable[..., Pack]
"""(images, source, run, **pack options) → the pack that was made of them."""


def is_run(path: Path) -> bool:
    """Return whether a path is a checkpoint file or a run, even one without a checkpoint."""
    if path.is_file():
        return path.suffix == ".safetensors"
    return any((path / name).is_file() for name in ("last.safetensors", "best.safetensors")) or (
        (path / "recipe.json").is_file() and not (path / "pack.json").is_file()
    )


def load_run(run: str | os.PathLike[str]) -> tuple[Path, Checkpoint]:
    """Return the path of a run's checkpoint file (`best`, else `last`) and its content."""
    path = checkpoints.find(run)
    return path, checkpoints.load(path)


def open_run_and_pack(
    run: str | os.PathLike[str],
    pack: str | os.PathLike[str] | None,
    split: str,
    ignore_unknown: bool = True,
) -> tuple[Path, Checkpoint, Pack]:
    """Return a run's checkpoint file, its content, and the pack to measure it on.

    Without `pack`, that is the pack of the training. Images that are not a pack are packed first
    (`ensure_pack`). Raises FileNotFoundError if the run or the pack is missing, ValueError if the
    pack has no images of `split`.
    """
    path, trained = load_run(run)
    if pack:
        opened = ensure_pack(pack, path, trained, split, ignore_unknown=ignore_unknown)
    else:
        opened = open_pack(find_pack_of(path))
    if split not in opened.splits or not len(opened.splits[split]):
        with_images = [name for name, images in opened.splits.items() if len(images)]
        raise ValueError(f"{opened.path} has no {split} images; it has {', '.join(with_images)}")
    return path, trained, opened


def ensure_pack(
    images: str | os.PathLike[str],
    checkpoint: Path,
    trained: Checkpoint,
    split: str,
    make: MakePack | None = None,
    *,
    any_classes: bool = False,
    ignore_unknown: bool = True,
) -> Pack:
    """Return a pack of `images` that the network can be measured on, making one if needed.

    A pack is opened. Any other source of images is packed by `make`, in packs/, with the
    size, the fit and the pixel format of the network; images without splits all go into `split`.
    The images that the network was trained on are not all measured: the pack of the training is
    returned instead, updated if they have changed since (see `describe_change`).

    Raises what `open_pack`, `open_source` and packing raise. Before any packing, raises ValueError
    if there is no such split and, unless `any_classes`, if the network knows none of the classes
    or, unless `ignore_unknown`, does not know one that there are images of.
    """
    if (Path(images) / "pack.json").is_file():
        return open_pack(images)
    make = make or _make_pack
    if own := open_training_pack(checkpoint.parent, images):
        return _update(own, images, checkpoint.parent, make)
    source = open_source(os.fspath(images), evaluation_split=split)
    if not any_classes:
        _check_split(source, split)
        _check_classes(source, trained, split, ignore_unknown)
    return make(os.fspath(images), source, checkpoint.parent, **derive_pack_options(trained))


def _update(pack: Pack, images: str | os.PathLike[str], run: Path, make: MakePack) -> Pack:
    """Return the pack of a training, updated if its images have changed."""
    if not os.path.exists(images):
        return pack  # they are gone or, as the digits, are not files
    source = open_source_of(pack, os.fspath(images))
    if not has_changed(pack, source):
        return pack
    options = {key: pack.metadata[key] for key in ADOPTED if key in pack.metadata}
    return make(os.fspath(images), source, run, path=pack.path, **options)


def describe_change(
    run: Path, pack: Path, checksum: str, use: str = "its images as they are now are measured"
) -> str:
    """Return a sentence if the pack of a run is not as it was when the run was trained; else "".

    `use` says what is done with the images.
    """
    described = runs.read_pack_description(run)
    is_own = "path" in described and os.path.realpath(described["path"]) == os.path.realpath(pack)
    if not is_own or described.get("checksum", checksum) == checksum:
        return ""
    return (
        f"{pack} has changed since {run} was trained (checksum {described['checksum'][:12]}…, now "
        f"{checksum[:12]}…): {use}. Validation images were chosen anew, and the network may have "
        "been trained on some of them."
    )


def _check_split(source: Source, split: str) -> None:
    """Raise ValueError, before any packing, if a source has no such split."""
    if split not in source.splits:
        raise ValueError(
            f"{source.path} has no {split} images; it has {', '.join(source.splits)}: choose one "
            f"with --split, as --split {source.splits[0]}"
        )


def _check_classes(source: Source, trained: Checkpoint, split: str, ignore_unknown: bool) -> None:
    """Raise ValueError, before any packing, for classes that the network does not know.

    Some may be unknown with `ignore_unknown`, or if there are no images of them; not all of them.
    """
    known = {*trained.classes, *(trained.wordnet_ids or ())}
    if known.isdisjoint((*source.classes, *(source.wordnet_ids or ()))):
        raise ValueError(
            f"the network knows none of the classes of {source.path}, "
            f"{quote_names(source.classes)}: it was trained on {quote_names(trained.classes)}"
        )
    ids = source.wordnet_ids or source.classes
    unknown = {
        i for i, pair in enumerate(zip(source.classes, ids, strict=True)) if known.isdisjoint(pair)
    }
    if ignore_unknown or not unknown:
        return
    for item in source.entries(split):
        if isinstance(item, Entry) and item.label in unknown:
            raise ValueError(
                f"the network does not know the class of {item.name}, "
                f"{quote_names([source.classes[item.label]])} (it does not know {len(unknown):,} "
                f"of the {len(source.classes):,} classes of {source.path}). Leave such images out: "
                "--ignore-unknown"
            )


def derive_pack_options(trained: Checkpoint) -> dict[str, Any]:
    """Return the options of `pack` that give records like those that the network was trained on."""
    from alexnet.images.preparation import (
        RecordOptions,  # training from a pack needs no image decoder
    )

    settings = trained.preprocessing.settings()
    shared = {field.name for field in fields(RecordOptions)} & settings.keys()
    return {"size": settings["side"], **{name: settings[name] for name in sorted(shared)}}


def open_training_pack(
    run: Path, images: str | os.PathLike[str], *, may_be_relative: bool = False
) -> Pack | None:
    """Open the pack that a run was trained on if it was made of these images; else return None.

    Packs of earlier versions may have stored a relative path to their images, which can mean
    another folder where this program runs now: they count only with `may_be_relative`.
    """
    try:
        pack = open_pack(runs.read_pack_description(run)["path"])
        kind, path = str(pack.source["kind"]), str(pack.source["path"])
    except (OSError, ValueError, KeyError):
        return None  # missing or damaged: the images can still be packed
    if str(images) == digits.NAME:
        return pack if kind == digits.NAME else None
    comparable = may_be_relative or os.path.isabs(path)
    return pack if comparable and os.path.realpath(path) == os.path.realpath(images) else None


def find_pack_of(checkpoint: Path) -> Path:
    """Find the pack that a checkpoint was trained on: at its old path, or relative to the run.

    Of several candidates, the one with the recorded checksum is returned. Raises FileNotFoundError
    if the pack is no longer there, or if the run does not say which pack it was.
    """
    described, folder = runs.read_pack_description(checkpoint.parent), checkpoint.parent
    candidates = [Path(described["path"])] if "path" in described else []
    if "relative" in described:
        candidates.append(folder.resolve() / described["relative"])
    existing = [path for path in candidates if (path / "pack.json").is_file()]
    for path in existing:
        with suppress(OSError, ValueError):
            if open_pack(path).checksum == described.get("checksum"):
                return path
    if existing:
        return existing[0]
    name = f"alexnet evaluate {checkpoint} PACK"
    if candidates:
        where = " nor at ".join(dict.fromkeys(str(Path(os.path.normpath(x))) for x in candidates))
        raise FileNotFoundError(
            f"the pack that {checkpoint} was trained on is not at {where}. Name it: {name}"
        )
    if runs.read_import(folder):
        raise FileNotFoundError(
            f"the weights of {checkpoint} were imported, so no pack belongs to them. Name a pack, "
            f"or images: {name}"
        )
    raise FileNotFoundError(
        f"{folder / 'environment.json'} does not say what {checkpoint} was trained on. Name a "
        f"pack: {name}"
    )


def _make_pack(images: str, source: Source, run: Path, **options: Any) -> Pack:
    """Pack images next to a run, without showing progress."""
    return pack_next_to_run(source, run, pack_name(images), **options)
