"""Packs that are made automatically: their folder and name, and when an existing one is reused.

`alexnet train`, `alexnet evaluate` and `evaluation.images` pack images that are not packed yet into
a folder next to the run. An existing pack is reused if it has the same images and settings. If not,
it is left unchanged and the new pack gets the next free name of

    NAME.pack   NAME-SETTINGS.pack   NAME-SETTINGS-2.pack   NAME-SETTINGS-3.pack   …
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alexnet.packing.pack import pack
from alexnet.packing.resume import OtherPack
from alexnet.packs.pack import Pack
from alexnet.sources.entry import Source

MAX_PACKS = 100
"""Maximum number of packs of the same name and settings in one folder."""
OPTIONS_IN_NAME = "size", "fit", "pixels", "upright"
"""Options that the name of a second pack contains."""


def pack_next_to_run(
    source: Source,
    run: Path,
    name: str,
    say: Callable[[str], object] = lambda text: None,
    **options: Any,
) -> Pack:
    """Pack a source into a folder next to a run, or open the existing pack of it.

    The options and errors are those of `packing.pack.pack`. `say` is called with a sentence for
    each existing pack that cannot be reused. Raises ValueError if all names are taken.
    """
    folder = choose_folder(run, source)
    for path in _candidate_paths(folder, name, options):
        try:
            return pack(source, path, **options)
        except OtherPack as other:
            say(f"Not used: {other.reason}.")
    raise ValueError(f"{folder} holds {MAX_PACKS} other packs named {name}: delete some of them")


def choose_folder(run: Path, source: Source) -> Path:
    """Return the folder of a run, or `packs` if that is not writable or is among the images."""
    folder = run.parent if run.name not in ("", "..") else run.resolve().parent
    return folder if _is_writable(folder) and not is_inside(folder, source) else Path("packs")


def is_inside(path: Path, source: Source) -> bool:
    """Return whether a path is the folder of a source's images or inside it."""
    return source.path.is_dir() and path.resolve().is_relative_to(source.path.resolve())


def pack_name(images: str | Path) -> str:
    """Return the name of a pack or run made from these images: `photos` for `photos.tar.gz`."""
    name = Path(images).resolve().name
    return name.split(".tar")[0].removesuffix(".tgz") or "images"


def _is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, which itself may not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _candidate_paths(folder: Path, name: str, options: dict[str, Any]) -> Iterator[Path]:
    """Yield the paths to try, in order."""
    yield folder / f"{name}.pack"
    settings = (
        _format_option(key, options.get(key)) for key in OPTIONS_IN_NAME if options.get(key)
    )
    long_name = "-".join((name, *settings))
    yield folder / f"{long_name}.pack"
    for number in range(2, MAX_PACKS):
        yield folder / f"{long_name}-{number}.pack"


def _format_option(key: str, value: object) -> str:
    """Return `upright` for an option that is on, else the value: `224`, `crop`."""
    return key if value is True else str(value)
