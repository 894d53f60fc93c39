"""Packs that nobody named: where they are put, and when one that is there is used again.

`alexnet train` and `alexnet evaluate` pack what is not a pack yet, beside the run. The pack of
another call is used if it is of the same images and settings; else it stays as it is, and the new
one is put beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alexnet.packing.loop import OtherPack
from alexnet.packing.pack import pack
from alexnet.packs.pack import Pack
from alexnet.sources.entry import Source

MOST = 100
"""Packs of one name and one kind in one folder."""
NAMED = "size", "fit", "pixels", "upright"
"""Options that the name of a second pack tells."""


def pack_beside(
    source: Source,
    run: Path,
    name: str,
    say: Callable[[str], object] = lambda text: None,
    **options: Any,
) -> Pack:
    """Pack a source beside a run, or open the pack of it that is there.

    The options are those of `pack`; it is put into NAME.pack, or into a folder whose name tells
    the settings if that is another pack, which `say` is told. Raises what `pack` raises.
    """
    folder = folder_beside(run, source)
    for place in _places(folder, name, options):
        try:
            made = pack(source, place, **options)
        except OtherPack as other:
            say(f"Not used: {other.what}.")
            continue
        return made
    raise ValueError(f"{folder} holds {MOST} other packs of the name {name}: delete some of them")


def folder_beside(run: Path, source: Source) -> Path:
    """The folder that the run is in; packs/ if that cannot be written, or is among the images."""
    beside = run.parent if run.name not in ("", "..") else run.resolve().parent
    return beside if _can_be_written(beside) and not is_inside(beside, source) else Path("packs")


def is_inside(path: Path, source: Source) -> bool:
    """Whether a path is in the folder that a source's images are in, or is that folder."""
    return source.path.is_dir() and path.resolve().is_relative_to(source.path.resolve())


def pack_name(images: str | Path) -> str:
    """The name of a pack or run made of these images."""
    name = Path(images).resolve().name
    return name.split(".tar")[0].removesuffix(".tgz") or "images"


def _can_be_written(folder: Path) -> bool:
    """Whether something can be made in a folder, which itself may have to be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _places(folder: Path, name: str, options: dict[str, Any]) -> Iterator[Path]:
    yield folder / f"{name}.pack"
    told = "-".join((name, *(_word(key, options.get(key)) for key in NAMED if options.get(key))))
    yield folder / f"{told}.pack"
    for number in range(2, MOST):
        yield folder / f"{told}-{number}.pack"


def _word(key: str, value: object) -> str:
    return key if value is True else str(value)
