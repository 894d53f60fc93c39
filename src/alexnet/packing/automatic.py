"""Packs that are made automatically: where they are, and when an existing one is used again.

`alexnet pack` without a name, `alexnet train`, `alexnet evaluate` and the Python functions use the
same pack of the same images. It is looked for in

    packs/                    in the current folder, where new packs are made
    the folder of the run     where earlier versions made them; new ones if the run is elsewhere
    the current folder        where the examples of the documentation have them

and it is updated if images were added, changed or removed. A pack of the same images with other
settings is left unchanged, and the new pack gets the next free name of

    NAME.pack   NAME-SETTINGS.pack   NAME-SETTINGS-2.pack   NAME-SETTINGS-3.pack   …
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from alexnet.packing.journal import read_journal
from alexnet.packing.pack import describe_archive, pack
from alexnet.packing.resume import OtherPack, get_evaluation, is_current
from alexnet.packing.versions import is_vacant, read_valid
from alexnet.packs.pack import Pack
from alexnet.sources.entry import Source
from alexnet.sources.holdout import DEFAULT_FRACTION
from alexnet.sources.recognition import open_source
from alexnet.sources.zip_members import is_zip_name

FOLDER = Path("packs")
"""Where packs are made, in the current folder."""
MAX_PACKS = 100
"""Maximum number of packs of the same name and settings in one folder."""
OPTIONS_IN_NAME = "size", "fit", "pixels", "upright"
"""Options that the name of a second pack contains."""
LISTS = "val_list", "test_list"
"""Arguments of `open_source` that are text files."""
ADOPTED = "size", "fit", "pixels", "upright", "max_pixels", "shard_images"
"""Options of an existing pack that hold if no others are asked for."""


def pack_next_to_run(
    source: Source,
    run: Path | None,
    name: str,
    say: Callable[[str], object] = lambda text: None,
    *,
    path: Path | None = None,
    **options: Any,
) -> Pack:
    """Pack a source, or update or open the pack of it that is there.

    The options and errors are those of `packing.pack.pack`; of an existing pack, those that are not
    given are kept. `run` is the folder of a run, `path` a pack to use if it is one of this source.
    `say` is called with sentences about an update, and about packs of the same images that cannot
    be used. Raises ValueError if all names are taken.
    """
    found_packs = find_packs(source.path, run, source.evaluation_split)
    others = []
    for found in [path, *found_packs] if path else found_packs:
        try:
            return pack(source, found, say=say, **_adopt_options(found, options))
        except OtherPack as other:
            others.append(other.reason)
    for reason in others:
        say(f"Another pack of these images is made: {reason}.")
    return pack(source, choose_path(source, run, name, options), say=say, **options)


def find_packs(images: str | Path, run: Path | None, evaluation: str = "") -> list[Path]:
    """Return the packs of these images in the usual folders, finished or begun.

    `evaluation` is the `Source.evaluation_split` of the images.
    """
    found = []
    for folder in _list_folders(run):
        paths = sorted(folder.glob("*.pack"), key=lambda path: (len(path.name), path.name))
        found += [path for path in paths if _is_of(images, evaluation, path)]
    return found


def choose_path(source: Source, run: Path | None, name: str, options: dict[str, Any]) -> Path:
    """Return the path of a new pack. Raises ValueError if all names are taken."""
    folder = choose_folder(run, source)
    for path in _candidate_paths(folder, name, options, source):
        if not path.exists() or is_vacant(path):
            return path
    raise ValueError(f"{folder} holds {MAX_PACKS} other packs named {name}: rename some of them")


def choose_folder(run: Path | None, source: Source) -> Path:
    """Return the folder for a new pack, one that is writable and not among the images.

    It is `packs` in the current folder or, for a run that is not below the current folder, the
    folder of the run.
    """
    places = [FOLDER]
    if run is not None:
        beside = _get_parent(run)
        is_below = beside.resolve().is_relative_to(Path.cwd())
        places.insert(len(places) if is_below else 0, beside)
    for place in places:
        if _is_writable(place) and not is_inside(place, source):
            return place
    return FOLDER


def find_holdout(
    images: str | Path, run: Path | None, say: Callable[[str], object] = lambda text: None
) -> dict[str, Any]:
    """Return how the existing pack of these images holds out images: arguments of `open_source`.

    Empty if there is no pack, or if its images were not held out. `say` is called with a sentence
    if validation images are not chosen in the usual way, so that nobody wonders.
    """
    for found in find_packs(images, run):
        if holdout := get_holdout(_read_metadata(found) or {}):
            if holdout != {"val_fraction": DEFAULT_FRACTION, "seed": 0}:
                settings = ", ".join(f"{name} {value}" for name, value in holdout.items())
                say(f"Validation images are chosen as in {found} ({settings}).")
            return holdout
    return {}


def get_holdout(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return how images are held out in a pack, as arguments of `open_source`."""
    division = metadata.get("division") or {}
    names = {"share": "val_fraction"} | {name: name for name in ("seed", "group_by", *LISTS)}
    return {names[key]: value for key, value in division.items() if key in names}


def open_source_of(pack: Pack, images: str | Path) -> Source:
    """Open the images that a pack was made of, with validation images chosen as for the pack."""
    return open_source(images, **get_holdout(pack.metadata))


def has_changed(pack: Pack, source: Source) -> bool:
    """Return whether the images of a pack have changed since it was made or updated."""
    wanted = {
        "classes": list(source.classes),
        "wordnet_ids": None if source.wordnet_ids is None else list(source.wordnet_ids),
        "division": source.division,
        "source": {"splits": list(source.splits)},
        "archive": describe_archive(source),
    }
    return not is_current(source, pack.metadata, wanted)


def is_inside(path: Path, source: Source) -> bool:
    """Return whether a path is the folder of a source's images or inside it."""
    return source.path.is_dir() and path.resolve().is_relative_to(source.path.resolve())


def pack_name(images: str | Path) -> str:
    """Return the name of a pack or run made from these images: `photos` for `photos.tar.gz`."""
    name = Path(images).resolve().name
    if is_zip_name(name):
        return name[: -len(".zip")] or "images"
    return name.split(".tar")[0].removesuffix(".tgz") or "images"


def _list_folders(run: Path | None) -> Iterator[Path]:
    """Yield the folders where packs are looked for, each once."""
    seen = set()
    for folder in (FOLDER, _get_parent(run) if run else Path("runs"), Path()):
        if (real := folder.resolve()) not in seen:
            seen.add(real)
            yield folder


def _get_parent(run: Path) -> Path:
    return run.parent if run.name not in ("", "..") else run.resolve().parent


def _read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a pack, finished or begun; None if there is none, or a damaged one."""
    with suppress(OSError, ValueError):
        if (valid := read_valid(path)) is not None:
            return valid
        if (journal := read_journal(path)) is not None:
            return journal.about
    return None


def _is_of(images: str | Path, evaluation: str, path: Path) -> bool:
    """Return whether a pack was made of these images, for the same purpose."""
    if (metadata := _read_metadata(path)) is None:
        return False
    same = os.path.realpath(str(metadata["source"]["path"])) == os.path.realpath(images)
    return same and get_evaluation(metadata) == evaluation


def _adopt_options(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, completed by those of an existing pack."""
    metadata = _read_metadata(path) or {}
    kept = {key: metadata[key] for key in ADOPTED if key in metadata}
    given = {key: value for key, value in options.items() if value is not None}
    return kept | given


def _is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, which itself may not exist yet."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _candidate_paths(
    folder: Path, name: str, options: dict[str, Any], source: Source
) -> Iterator[Path]:
    """Yield the paths to try, in order."""
    yield folder / f"{name}.pack"
    settings = [
        _format_option(key, options.get(key)) for key in OPTIONS_IN_NAME if options.get(key)
    ]
    if source.evaluation_split:
        settings.append(source.evaluation_split)
    long_name = "-".join((name, *settings))
    yield folder / f"{long_name}.pack"
    for number in range(2, MAX_PACKS):
        yield folder / f"{long_name}-{number}.pack"


def _format_option(key: str, value: object) -> str:
    """Return `upright` for an option that is on, else the value: `224`, `crop`."""
    return key if value is True else str(value)
