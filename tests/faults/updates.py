"""Updates of a pack, and images sorted into folders by label, that are killed.

An update: photos are added, changed, moved and deleted after a pack was made. At every moment the
pack in the folder is a whole one, the former or the new; the end is that of an update that nobody
stopped, and has the records of a pack made afresh. Sorting: every file in the folder is a whole
image, and at the end each image is there once. `kills` kills both.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.packings import CLASSES, PackingSubject, report_failure, write_photos

from alexnet.commands.sorted_folder import SortedFolder
from alexnet.packing.pack import pack_images
from alexnet.packs.pack import open_pack

OPTIONS: dict[str, Any] = {"size": 24, "shard_images": 5, "val_fraction": 0.2}


def update(photos: Path, former: Path, out: Path, number: int) -> None:
    """Update a copy of a former pack, made where there is none yet."""
    if not out.exists():
        draft = out.with_name(f"{out.name}-draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(former, draft)
        draft.rename(out)
    pack_images(photos, out, processes=1 + number % 2, **OPTIONS)


class UpdateSubject(PackingSubject):
    """A pack of photos that have changed since."""

    full_disk = 6000

    def __init__(self, folder: Path) -> None:
        super().__init__("photos", folder)
        self.name, self.share = "update of a pack, files added, changed, moved, deleted", 1.0
        self.photos, self.former = folder / "changing", folder / "former"
        write_photos(self.photos)
        made = pack_images(self.photos, self.former, processes=1, **OPTIONS)
        self.checksum = made.checksum
        del made
        _change(self.photos)
        self.afresh = pack_images(self.photos, folder / "afresh", processes=1, **OPTIONS).checksum

    def work(self, out: Path, number: int) -> Callable[[], object]:
        """One update, or what is left of it."""
        return lambda: report_failure(lambda: update(self.photos, self.former, out, number))

    def command(self, out: Path, number: int) -> list[str]:
        """A program that does the same."""
        paths = ", ".join(f"Path({str(path)!r})" for path in (self.photos, self.former, out))
        code = f"from tests.faults.updates import Path, update\nupdate({paths}, {number})"
        return [sys.executable, "-c", code]

    def finished(self, out: Path) -> bool:
        """Whether the new version is valid."""
        return (out / "pack.json").exists() and open_pack(out).checksum == self.afresh

    def problems(self, out: Path) -> list[str]:
        """What is wrong after a kill: there is always a whole pack, the former or the new one."""
        if not out.exists():
            return []
        if not (out / "pack.json").exists():
            return ["there is no pack any more"]
        found = self._verify(out)
        if not found and open_pack(out).checksum not in (self.checksum, self.afresh):
            found.append("the pack is neither the former nor the new one")
        return found

    def wrong_at_the_end(self, out: Path) -> list[str]:
        """What is wrong with an updated pack, by itself."""
        folders = sorted(path.name for path in out.iterdir())
        left = [] if folders == ["pack.json", "version-2"] else [f"left in the pack: {folders}"]
        return self.problems(out) + left


class SortingSubject(PackingSubject):
    """Images sorted into folders, as `alexnet predict --sort-into` does."""

    full_disk = 700

    def __init__(self, folder: Path, *, link: bool) -> None:
        super().__init__("few", folder)
        self.name, self.share = f"images sorted by label, {'linked' if link else 'copied'}", 1.0
        self.link, self.photos = link, folder / "to-sort"
        write_photos(self.photos)
        for number, path in enumerate(sorted(self.photos.glob("*/*"))[::5]):  # several of one name
            content = path.read_bytes() + bytes([number])
            (self.photos / f"{number}").mkdir()
            (self.photos / f"{number}" / "same.jpg").write_bytes(content)
        self.digests = {_digest(path) for path in self.photos.glob("*/*")}

    def work(self, out: Path, number: int) -> Callable[[], object]:
        """One command, or its repetition."""
        return lambda: report_failure(lambda: sort(self.photos, out, link=self.link))

    def command(self, out: Path, number: int) -> list[str]:
        """A program that does the same."""
        call = f"sort(Path({str(self.photos)!r}), Path({str(out)!r}), link={self.link})"
        return [sys.executable, "-c", f"from tests.faults.updates import Path, sort\n{call}"]

    def finished(self, out: Path) -> bool:
        """Whether all images are there."""
        return self.digests == {_digest(path) for path in _list_images(out)}

    def problems(self, out: Path) -> list[str]:
        """What is wrong after a kill: every visible file is a whole image, and each is once."""
        images = _list_images(out)
        found = [f"{x.name} is no whole image" for x in images if _digest(x) not in self.digests]
        if len(images) > len({_digest(path) for path in images}) + len(found):
            found.append("an image is there twice")
        return found

    def result(self, out: Path) -> dict[str, Any]:
        """A digest of every file."""
        files = (path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): _digest(path) for path in files}


def sort(photos: Path, out: Path, *, link: bool) -> None:
    """Sort images into folders by a label that depends on the name."""
    folder = SortedFolder(out, link=link)
    for path in sorted(photos.glob("*/*")):
        label = CLASSES[len(path.stem) % 2] if path.parent.name in CLASSES else None
        folder.add(path, label)


def _list_images(out: Path) -> list[Path]:
    """The files in the folders; the drafts that a kill leaves begin with a dot."""
    return [path for path in out.glob("*/*") if not path.name.startswith(".")]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _change(photos: Path) -> None:
    """Add, change, move and delete photos, and add a class."""
    files = sorted(photos.glob(f"{CLASSES[2]}/*"))
    files[0].unlink()
    files[1].rename(photos / CLASSES[0] / files[1].name)
    files[2].rename(files[2].with_name("renamed.jpg"))
    content = files[3].read_bytes()
    files[3].write_bytes(content[:-60] + bytes(60))
    (photos / "waves").mkdir()
    for number, path in enumerate(files[4:9]):
        shutil.copyfile(path, photos / "waves" / f"{number}{path.suffix}")
    write_photos(photos / "later", first=100)
    for path in (photos / "later").glob("*/*"):
        if path.name not in ("words.png",):
            path.rename(photos / path.parent.name / path.name)
    shutil.rmtree(photos / "later")


SUBJECTS: dict[str, Callable[[Path], PackingSubject]] = {
    "update": UpdateSubject,
    "copies": lambda folder: SortingSubject(folder, link=False),
    "links": lambda folder: SortingSubject(folder, link=True),
}
