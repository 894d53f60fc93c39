"""One way to look at a folder and at an archive of a folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alexnet.sources.entry import Skipped, Span
from alexnet.sources.reader import ForwardReader


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be an image: its name below the top of the tree, and its content."""

    name: str
    content: Path | Span | bytes


class Tree(Protocol):
    """Folders and files below one path; names are relative to it and separated by "/".

    The top is the name "". Hidden names are not among `folders` and `files`.
    """

    path: Path

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted (of an archive, only the first)."""

    def hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""

    def refused_links(self, folder: str) -> list[str]:
        """Links directly in `folder` that are not followed, each with where it leads."""

    def divided(self, folders: Iterable[str]) -> "Tree":
        """The same tree; of these folders, its splits, none leads into another by a link."""

    def open(self, name: str) -> ForwardReader:
        """A file for reading through; FileNotFoundError where there is none."""

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Every file below `folder`, in the same order each time, and all that is no file.

        `split` is what the Skipped are marked with. With `inner_tars`, what `x.tar` holds is found
        as if it lay in the folder `x`.
        """


def join(folder: str, name: str) -> str:
    """`folder/name`, where the top folder is ""."""
    return f"{folder}/{name}" if folder else name


def below(folder: str, name: str) -> str | None:
    """`name` relative to `folder`, or None where it is elsewhere."""
    if not folder:
        return name
    return name.removeprefix(folder + "/") if name.startswith(folder + "/") else None
