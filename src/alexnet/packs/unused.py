"""Files that a pack does not use, counted by kind, with advice on how to use them.

A camera leaves more than JPEGs in a folder. `summary` prints one line for each kind here:

    37 HEIF photographs (.heic) were not used: pip install 'alexnet[heic]', then the same command
    12 videos (.mov, .mp4) were not used: save frames as images
     5 raw photographs (.cr2) were not used: export as JPEG or TIFF

The kinds are told by the extensions of the names in skipped.jsonl; only files that no decoder could
read count, not those that are hidden, damaged or listed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alexnet.images.heif import ADVICE, NEEDED, can_read_heif
from alexnet.packs.checked_files import LONGEST_LINE
from alexnet.packs.pack import Pack
from alexnet.terminal import format_count
from alexnet.validate import check, parse_json

UNREAD = frozenset((NEEDED, "unsupported", "not_an_image", "broken", "too_large"))
"""Reasons of files that no decoder could read."""


@dataclass(frozen=True)
class UnusedKind:
    """A kind of files: what one is called, its extensions, and what can be done with them."""

    noun: str
    extensions: frozenset[str]
    advice: str


KINDS = (
    UnusedKind("video", frozenset(
        (".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts")
    ), "save frames as images"),
    UnusedKind("raw photograph", frozenset(
        (".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2",
         ".raf", ".pef", ".srw", ".x3f", ".3fr", ".raw")
    ), "export as JPEG or TIFF"),
    UnusedKind("drawing or document", frozenset(
        (".svg", ".pdf", ".ai", ".eps", ".ps", ".doc", ".docx", ".ppt", ".pptx")
    ), "export as PNG or JPEG"),
    UnusedKind("archive", frozenset(
        (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")
    ), "extract, or pack by itself"),
    UnusedKind("scientific image", frozenset(
        (".dcm", ".nii", ".fits", ".fit", ".h5", ".hdf", ".npy")
    ), "export as PNG or TIFF"),
)  # fmt: skip
HEIF = "HEIF photograph"


def describe_unused(pack: Pack) -> list[str]:
    """Return a line for each kind of files that were not used; none if the list is damaged."""
    try:
        return [*_describe_kinds(_count_kinds(pack.folder / "skipped.jsonl"))]
    except (OSError, ValueError):
        return []  # `pack --info --verify` reports it


def _count_kinds(path: Path) -> dict[str, Counter[str]]:
    """Count the unread files of each kind by their extensions."""
    nouns = {extension: kind.noun for kind in KINDS for extension in kind.extensions}
    counts: dict[str, Counter[str]] = {}
    for line in _read_lines(path):
        extension = PurePosixPath(line.get("path", "")).suffix.lower()
        noun = HEIF if line.get("reason") == NEEDED else nouns.get(extension)
        if noun and line.get("reason") in UNREAD:
            counts.setdefault(noun, Counter())[extension] += 1
    return counts


def _read_lines(path: Path) -> Iterator[dict[str, str]]:
    with open(path, "rb") as lines:
        while line := lines.readline(LONGEST_LINE):
            yield check(parse_json(line, str(path)), dict[str, str], str(path))


def _describe_kinds(counts: dict[str, Counter[str]]) -> Iterator[str]:
    advice = {kind.noun: kind.advice for kind in KINDS}
    again = "give the same command again, which decodes only these files"
    advice[HEIF] = again if can_read_heif() else f"{ADVICE}, then {again}"
    for noun, extensions in sorted(counts.items(), key=lambda item: -item[1].total()):
        names = ", ".join(name or "no extension" for name, _ in extensions.most_common(5))
        plural = "drawings or documents" if noun.startswith("drawing") else ""
        number = extensions.total()
        verb = "was" if number == 1 else "were"
        yield f"{format_count(number, noun, plural)} ({names}) {verb} not used: {advice[noun]}"
