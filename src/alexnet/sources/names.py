"""What names tell: which are hidden, which are of no image, which classes look alike."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from alexnet.sources.limits import LONGEST_NAME
from alexnet.terminal import printable

WORDNET_ID = re.compile(r"n\d{8}")
ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)

_HIDDEN = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"})
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_SIDECARS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".mat")


def is_hidden(part: str) -> bool:
    """Whether one part of a path is the system's or an editor's, as `.DS_Store`, `__MACOSX`."""
    return part.startswith(".") or part.lower() in _HIDDEN


def hidden_head(name: str) -> str | None:
    """The shortest leading path of `name` that is hidden: `a/.git` of `a/.git/config`, or None."""
    parts = name.split("/")
    for depth, part in enumerate(parts, start=1):
        if is_hidden(part):
            return "/".join(parts[:depth])
    return None


def is_sidecar(name: str) -> bool:
    """Whether a file describes images rather than being one, as lists and annotations do."""
    return name.lower().endswith(_SIDECARS)


def is_called_an_image(name: str) -> bool:
    """Whether a file has the ending of a picture; many images have none."""
    return name.lower().endswith(_IMAGES)


def safe_name(name: str) -> str | None:
    """A member's name without leading `./`, or None where it leads out of its archive.

    None also for names that are longer than those of any file.
    """
    if len(name) > LONGEST_NAME:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        return None
    return "/".join(parts)


def stem(name: str) -> str:
    """The last part of a name without its ending."""
    return PurePosixPath(name).stem


def quote_names(names: Iterable[str], limit: int = 5) -> str:
    """The first few names in quotes, and how many more there are."""
    names = list(names)
    shown = ", ".join(f"'{printable(name)}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def class_remarks(classes: Sequence[str]) -> list[str]:
    """Sentences on class names that people or file systems would confuse."""
    return [*_twins(classes), *_numbers(classes), *_leftovers(classes)]


def _twins(classes: Sequence[str]) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())].append(
            name
        )
    return [
        f"Classes {quote_names(ascii(name)[1:-1] for name in names)} differ only in case or "
        "Unicode form; they are kept apart."
        for names in alike.values()
        if len(names) > 1
    ]


def _numbers(classes: Sequence[str]) -> list[str]:
    if not all(name.isdecimal() for name in classes):
        return []
    if sorted(classes, key=int) == sorted(classes):
        return []
    return ["Class names are numbers sorted as text, so that '10' comes before '2'."]


def _leftovers(classes: Sequence[str]) -> list[str]:
    known = [name for name in classes if name in ("BACKGROUND_Google", "257.clutter")]
    return [f"'{name}' is a folder of leftovers and is kept as a class." for name in known]
