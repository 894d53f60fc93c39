"""Rules on names: which files are hidden or are not images, and which classes are easily confused.

The modules that walk folders and archives use them, and `quote_names` formats names for messages
throughout the package.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from alexnet.sources.limits import LONGEST_NAME
from alexnet.terminal import escape_unprintable

WORDNET_ID = re.compile(r"n\d{8}")
ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)

_HIDDEN = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"})
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_SIDECARS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".mat")


def is_hidden(part: str) -> bool:
    """Whether one part of a path belongs to a system or an editor, such as `.git`, `__MACOSX`."""
    return part.startswith(".") or part.lower() in _HIDDEN


def hidden_prefix(name: str) -> str | None:
    """The path up to the first hidden part: `a/.git` of `a/.git/config`; None if none is hidden."""
    parts = name.split("/")
    for depth, part in enumerate(parts, start=1):
        if is_hidden(part):
            return "/".join(parts[:depth])
    return None


def is_sidecar(name: str) -> bool:
    """Whether a file has the extension of a list or an annotation, and so is not an image."""
    return name.lower().endswith(_SIDECARS)


def has_image_extension(name: str) -> bool:
    """Whether a file has the extension of an image. Images without an extension are common too."""
    return name.lower().endswith(_IMAGES)


def safe_name(name: str) -> str | None:
    """The name of an archive's member in plain form: without `./` and `//`.

    None for a name that leads out of the archive (absolute, or with `..`), for one without any
    part, and for one that is longer than any file's name.
    """
    if len(name) > LONGEST_NAME:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        return None
    return "/".join(parts)


def quote_names(names: Iterable[str], limit: int = 5) -> str:
    """The first `limit` names in quotes, safe to print, and how many more there are."""
    names = list(names)
    shown = ", ".join(f"'{escape_unprintable(name)}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def class_remarks(classes: Sequence[str]) -> list[str]:
    """Sentences about class names that people or file systems would confuse."""
    return [*_similar_names(classes), *_numbers_as_text(classes), *_leftover_classes(classes)]


def _similar_names(classes: Sequence[str]) -> list[str]:
    similar: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        similar[unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())].append(
            name
        )
    return [
        f"Classes {quote_names(ascii(name)[1:-1] for name in names)} differ only in case or "
        "Unicode form; they are kept apart."
        for names in similar.values()
        if len(names) > 1
    ]


def _numbers_as_text(classes: Sequence[str]) -> list[str]:
    if not all(name.isdecimal() for name in classes):
        return []
    if sorted(classes, key=int) == sorted(classes):
        return []
    return ["Class names are numbers sorted as text, so that '10' comes before '2'."]


def _leftover_classes(classes: Sequence[str]) -> list[str]:
    known = [name for name in classes if name in ("BACKGROUND_Google", "257.clutter")]
    return [f"'{name}' holds images of no class and is kept as a class." for name in known]
