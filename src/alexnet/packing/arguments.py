"""Checks of what a packing is asked for, made before anything is read.

`packing.pack` calls `check_options` and `check_place`; the command `pack` calls `check_options`
before it opens its images. Never import `packing.pack` here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.images.records import record_shape
from alexnet.images.resizing import FITS

MAX_SIZE = 1 << 13
"""Maximum width of packed images: more take gigabytes of memory for each decoding process."""
LARGEST = {"size": MAX_SIZE, "processes": 1 << 10, "max_pixels": 1 << 36, "shard_images": 1 << 40}
"""The largest values of the options that are whole numbers. The smallest is 1."""
LONGEST_TIMEOUT = 86_400.0
"""Seconds that the decoding of one image may be given at most."""


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for a value that no packing can have; an option that is None has a default.

    The options are those of `packing.pack.pack`; others are not looked at.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name, largest in LARGEST.items():
        if not 1 <= given.get(name, 1) <= largest:
            raise ValueError(f"{name} is {given[name]}; it has to be from 1 to {largest:,}")
    if given.get("fit", FITS[0]) not in FITS:
        raise ValueError(f"fit is {given['fit']!r}, but must be one of {', '.join(FITS)}")
    timeout = given.get("timeout", 1.0)
    if not (0 < timeout <= LONGEST_TIMEOUT and math.isfinite(timeout)):
        raise ValueError(
            f"timeout is {timeout}; it has to be more than 0 seconds, and {LONGEST_TIMEOUT:,.0f} "
            "or less"
        )
    record_shape(given.get("size", 2), given.get("pixels", "rgb"))  # odd sizes have no yuv420


def check_place(out: Path) -> None:
    """Raise FileExistsError or PermissionError if a pack cannot be made at this path."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: name another path for the pack, which is a folder")
    place = out.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is a file, so that {out} cannot be in it")
    if place != out.absolute() and not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{out} cannot be made: you may not create files in {place}. Name another path"
        )
