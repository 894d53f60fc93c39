"""Which installed font has a letter: one look-up for figures and for the contact sheet of a pack.

Names of classes and files may be in any script. `FONT` comes with matplotlib and has Latin, Greek,
Cyrillic, Arabic and some others; every other letter is looked for in the fonts of the system:

    "cat 猫"   c a t   FONT
               猫      the first installed font that has it, such as Noto Sans CJK
               ↯       none: the code point is written instead, as \\u732b, and this is said once

Boxes in the place of letters would make different names look alike. `show.style`, `packs.summary`
and `images.png` call this; `cli` prints the report at the end of a command. matplotlib is imported
at the first call only; imports `terminal` and nothing else of this package.
"""

from __future__ import annotations

import functools
import os
from itertools import groupby
from pathlib import Path

from alexnet.terminal import escape_unprintable

FONT = "DejaVu Sans"
"""The font that matplotlib brings along, so that figures are alike everywhere."""
NOT_FOR_TEXT = "lastresort", "adobeblank", "blank", "emoji", "symbol", "barcode"
"""Parts of the names of fonts whose glyphs are not letters, or not outlines."""
SPECIAL = "bold", "italic", "oblique", "light", "thin", "black", "medium", "cond", "mono", "serif"
"""Parts of the names of fonts that are taken only if no plain one has a letter."""

_used: dict[str, None] = {}
"""Paths of the fonts that were found, in the order in which they were needed."""
_missing: dict[str, None] = {}
"""Letters that no font has, in the order in which they were met."""
_reported: set[str] = set()
"""Those of them that `take_report` has returned."""


def escape_missing(text: str) -> str:
    """Return a text with everything escaped that cannot be printed or drawn, as `\\u4e2d`."""
    return "".join(c if find_font(c) else _note_missing(c) for c in escape_unprintable(text))


def find_font(letter: str) -> str | None:
    """Return the path of the font to draw a letter with; None if no installed font has it."""
    if ord(letter) in _list_glyphs(_find_main()):
        return _find_main()
    return _find_other(letter)


def list_families(text: str) -> list[str]:
    """Return the names of the fonts that a text needs, for matplotlib, `FONT` first."""
    from matplotlib.font_manager import get_font

    paths = dict.fromkeys(find_font(c) for c in text if not c.isspace())
    others = [path for path in paths if path and path != _find_main()]
    return [FONT, *dict.fromkeys(get_font(path).family_name for path in others)]


def split_by_font(text: str) -> list[tuple[str, str]]:
    """Split a text into parts of one font each, as (path of the font, part)."""
    groups = groupby(text, lambda c: find_font(c) or _find_main())
    return [(path, "".join(letters)) for path, letters in groups]


def take_report() -> str:
    """Return a sentence on the letters that no installed font has, once for each; "" if none."""
    letters = [c for c in _missing if c not in _reported]
    if not letters:
        return ""
    _reported.update(letters)
    shown = " ".join(f"{c} ({_escape(c)})" for c in letters[:5])
    more = f" and {len(letters) - 5:,} more" if len(letters) > 5 else ""
    return (
        f"no installed font has the letters {shown}{more}; they were drawn as their code points. "
        "Fonts of most scripts: packages fonts-noto-core and fonts-noto-cjk (Debian, Ubuntu) or "
        "google-noto-fonts (Fedora), or fonts.google.com/noto"
    )


def _note_missing(letter: str) -> str:
    _missing[letter] = None
    return _escape(letter)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


@functools.cache
def _find_main() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties(family=FONT)))


@functools.cache
def _find_other(letter: str) -> str | None:
    """Look for a letter in the fonts that are in use already, then in all others."""
    if not letter.isprintable():
        return None
    for path in (*_used, *_list_installed()):
        if ord(letter) in _list_glyphs(path):
            if path not in _used:
                _register(path)
                _used[path] = None
            return path
    return None


def _register(path: str) -> None:
    """Make a font known to matplotlib, whose own list may be older than the font."""
    from matplotlib.font_manager import fontManager

    if all(known.fname != path for known in fontManager.ttflist):
        fontManager.addfont(path)


@functools.cache
def _list_installed() -> tuple[str, ...]:
    """Paths of the system's fonts for text, plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple[int, str]:
        name = Path(path).stem.lower()
        return sum(part in name for part in SPECIAL), path

    names = {path: Path(path).stem.lower().replace("-", "") for path in findSystemFonts()}
    usable = (p for p, name in names.items() if not any(part in name for part in NOT_FOR_TEXT))
    return tuple(sorted(map(os.fspath, usable), key=rank))


@functools.cache
def _list_glyphs(path: str) -> frozenset[int]:
    """The code points that a font can draw; none of a font that cannot be opened."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
