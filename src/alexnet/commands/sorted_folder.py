"""Copies of images, sorted into folders by label: `alexnet predict --sort-into FOLDER`.

    FOLDER/
      cat/       IMG_0001.jpg  IMG_0001 (2).jpg      two images of one name and other content
      a%2Fb/     …                                   the label "a/b": escaped, so it is one folder
      unsure/    …                                   no label reached the threshold

An image that is there already, the same bytes under the same name, is not copied again, so that the
same command can be killed and repeated. No file is ever overwritten. `commands.predict` calls this.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

from alexnet.files import create_file
from alexnet.sources.zip_members import ZipMember, read_member
from alexnet.terminal import format_count

Origin = Path | ZipMember
"""Where an image can be read again."""
UNSURE = "unsure"
"""The folder of images without a label; a label of this name gets an escaped folder."""
LONGEST = 200
"""Bytes of a name in UTF-8; file systems allow 255, and a draft's name is longer by a few."""
_UNSAFE = frozenset('/\\%:*?"<>|')
"""Characters that separate folders on some system, that no name may have on another, and the %."""


class SortedFolder:
    """The folder that images are sorted into, and counts of what was done."""

    def __init__(self, folder: Path, *, link: bool = False) -> None:
        """Make the folder if it is missing. With `link`, files are linked, not copied."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.link = folder, link
        self.counts: Counter[str] = Counter()
        """Images, by "new", "there" (already) and "unsure"."""
        self._folders: set[Path] = set()

    def add(self, origin: Origin, label: str | None) -> Path:
        """Put an image into the folder of its label (None: unsure); return where it is.

        Raises OSError if it cannot be read or written, and ValueError if the label's folder is a
        symbolic link, which could lead elsewhere.
        """
        into = self.folder / (UNSURE if label is None else name_folder(label))
        self._make(into)
        name = _name_file(origin)
        stem, suffix = os.path.splitext(name)
        for number in itertools.count(1):
            path = into / (f"{stem} ({number}){suffix}" if number > 1 else name)
            if self._put(origin, path):
                self.counts["unsure"] += label is None
                return path
        raise AssertionError("there are more names than images")

    def describe(self) -> str:
        """Return a sentence: how many images are where."""
        new, there, unsure = (self.counts[name] for name in ("new", "there", "unsure"))
        done = "linked" if self.link else "copied"
        apart = f", {unsure:,} of them in {self.folder / UNSURE}" if unsure else ""
        return (
            f"{format_count(new, 'image')} {done} into {self.folder}, {there:,} were there "
            f"already{apart}"
        )

    def _make(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if folder.is_symlink():
            raise ValueError(
                f"{folder} is a link, and images are not sorted through links: remove it, or name "
                "another folder with --sort-into"
            )
        folder.mkdir(exist_ok=True)
        self._folders.add(folder)

    def _put(self, origin: Origin, path: Path) -> bool:
        """Put an image at `path`; return False if another one is there."""
        try:
            if self.link and isinstance(origin, Path):
                os.symlink(os.path.abspath(origin), path)
            else:
                create_file(path, lambda draft: _write(origin, draft))
        except FileExistsError:
            if not _is_same(origin, path):
                return False
            self.counts["there"] += 1
        else:
            self.counts["new"] += 1
        return True


def name_folder(label: str) -> str:
    """Return the name of a label's folder; different labels have different ones."""
    name = escape_name(label)
    return f"%{ord(name[0]):02X}{name[1:]}" if name.lower() == UNSURE else name


def escape_name(text: str) -> str:
    """Return a text as the name of one file or folder, whatever is in the text.

    Separators, control characters, a dot at the beginning, and dots and spaces at the end are
    written as %XX, one for each byte in UTF-8. A long name is cut, with a hash of the whole.
    """
    ends = len(text.rstrip(". "))
    name = "".join(
        _escape(c)
        if c in _UNSAFE or not c.isprintable() or i >= ends or (c == "." and i == 0)
        else c
        for i, c in enumerate(text)
    )
    if len(encoded := name.encode("utf-8")) <= LONGEST:
        return name or "%"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    suffix = os.path.splitext(name)[1]
    suffix = suffix if len(suffix.encode()) <= 8 else ""
    return f"{encoded[: LONGEST - 30].decode('utf-8', 'ignore')}%{digest}{suffix}"


def check_place(folder: Path, images: tuple[Path, ...]) -> None:
    """Raise ValueError if `folder` is inside a folder of images: its copies would be images too."""
    real = os.path.realpath(folder)
    for path in images:
        top = os.path.realpath(path)
        if os.path.isdir(top) and (real == top or real.startswith(top.rstrip("/") + "/")):
            raise ValueError(
                f"--sort-into {folder} is inside {path}: the next time, the copies would be "
                "predicted, too. Name a folder outside of it"
            )


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def _name_file(origin: Origin) -> str:
    """The name of an image's copy: the name of its file, if it is not too long."""
    if isinstance(origin, Path) and len(os.fsencode(origin.name)) <= LONGEST:
        return origin.name
    return escape_name(origin.name.split("/")[-1])


def _write(origin: Origin, draft: Path) -> None:
    """Write the image's bytes into a draft, with the times of the original file."""
    if isinstance(origin, ZipMember):
        draft.write_bytes(read_member(origin))
        return
    shutil.copyfile(origin, draft)
    status = origin.stat()
    os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_same(origin: Origin, path: Path) -> bool:
    """Whether the file at `path` has the bytes of the image."""
    with contextlib.suppress(FileNotFoundError):  # a broken link is another image's
        if not path.is_file():
            return False
        if isinstance(origin, Path):
            return filecmp.cmp(origin, path, shallow=False)
        return path.stat().st_size == origin.size and path.read_bytes() == read_member(origin)
    return False
