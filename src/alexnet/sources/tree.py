"""The common interface to a folder on disk and to an archive of a folder.

`directory.Directory` and `tarball.Tarball` implement `Tree`; the modules that recognize data sets
(`class_folders`, `ilsvrc`, `cifar`, `mnist`, `norb`) use only this interface.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alexnet.sources.entry import Skipped, Span
from alexnet.sources.reader import ForwardReader


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be an image: its name in the tree, and its content."""

    name: str
    content: Path | Span | bytes


class Tree(Protocol):
    """The folders and files below `path`. Names are relative to it, with "/" as the separator.

    The name of the root is "". `list_folders` and `list_files` leave out hidden names.
    """

    path: Path

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted."""

    def list_files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted; of an archive, only the first ones."""

    def list_hidden(self, folder: str) -> list[str]:
        """Hidden names directly in `folder`, sorted."""

    def list_refused_links(self, folder: str) -> list[str]:
        """Symlinks directly in `folder` that are not followed, each as "name → target"."""

    def with_splits(self, folders: Iterable[str]) -> "Tree":
        """The same tree, in which no symlink leads from one of these folders into another."""

    def open_file(self, name: str) -> ForwardReader:
        """Open a file for sequential reading; raises FileNotFoundError if there is none."""

    def walk(
        self, folder: str, split: str, *, inner_tars: bool = False
    ) -> Iterator[FoundFile | Skipped]:
        """Yield every file below `folder`, and a Skipped for everything else in it.

        The order is the same on every call. `split` becomes the split of each Skipped. With
        `inner_tars`, the contents of `x.tar` are reported as if they were in a folder `x`.
        """


def join(folder: str, name: str) -> str:
    """The name of something in a folder: `folder/name`, or `name` for the root folder ""."""
    return f"{folder}/{name}" if folder else name


def below(folder: str, name: str) -> str | None:
    """`name` relative to `folder`, or None if it is not below it."""
    if not folder:
        return name
    return name.removeprefix(folder + "/") if name.startswith(folder + "/") else None
