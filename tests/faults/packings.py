"""Packings that are killed: the pack is absent or complete, and the result is always the same."""

from __future__ import annotations

import functools
import hashlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.conftest import picture
from tests.faults.lives import Life
from tests.packing.packing_sources import arrays, contents

from alexnet import cli
from alexnet.packing.pack import pack, pack_images
from alexnet.packs.pack import open_pack
from alexnet.packs.verification import verify

PHOTOS, CLASSES = 36, ("rings", "stripes", "spots")
KINDS = {
    "numbers": "pixels that need no decoding",
    "few": "a few of them",
    "photos": "files, decoded by two other processes",
}
SHARES = {"numbers": 0.8, "photos": 0.2}
"""Of the kills, where no kind is named."""
COUNTS = {"numbers": 40, "few": 6}
"""Images of a split."""


class PackingSubject:
    """A source that is packed, in shards of a few images."""

    full_disk = 3000
    is_large = False
    share = 1.0
    """Of the kills: a packing that starts other processes takes a second or two."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.name, self.kind, self.photos = f"pack, {KINDS[kind]}", kind, folder / "photos"
        self.share = SHARES.get(kind, 1.0)
        if kind == "photos" and not self.photos.exists():
            write_photos(self.photos)

    def work(self, out: Path, number: int) -> Callable[[], object]:
        """One packing, or what is left of it."""
        if self.kind in COUNTS:
            source = arrays(COUNTS[self.kind])
            return lambda: report_failure(lambda: pack(source, out, shard_images=4))
        options: dict[str, Any] = {"size": 24, "shard_images": 5, "val_fraction": 0.2}
        return lambda: report_failure(
            lambda: pack_images(self.photos, out, processes=1 + number % 2, **options)
        )

    def command(self, out: Path, number: int) -> list[str]:
        """A program that does the same."""
        calls = {
            **{
                kind: f"pack(arrays({count}), {str(out)!r}, shard_images=4)"
                for kind, count in COUNTS.items()
            },
            "photos": (
                f"pack_images({str(self.photos)!r}, {str(out)!r}, size=24, "
                f"processes={1 + number % 2}, shard_images=5, val_fraction=0.2)"
            ),
        }
        imports = (
            "from alexnet.packing.pack import pack, pack_images\n"
            "from tests.packing.packing_sources import arrays\n"
        )
        return [sys.executable, "-c", imports + calls[self.kind]]

    def finished(self, out: Path) -> bool:
        """Whether there is a pack."""
        return (out / "pack.json").exists()

    def problems(self, out: Path) -> list[str]:
        """What is wrong at an instant after a kill. Runs in a process of its own."""
        return self._verify(out) if (out / "pack.json").exists() else []

    def _verify(self, out: Path) -> list[str]:
        """What is wrong with the pack that is there."""
        try:
            verify(open_pack(out))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return [f"the pack is not whole: {type(error).__name__}: {error}"]
        return []

    def lost(self, out: Path) -> list[str]:
        """Nothing is known of a packing under way but what `problems` says."""
        return []

    def result(self, out: Path) -> dict[str, Any]:
        """A digest of every file of the folder."""
        return {name: hashlib.sha256(x).hexdigest() for name, x in contents(out).items()}

    def begun(self, life: Life) -> bool:
        """A packing has nothing to save when it is asked to stop: every signal is a kill."""
        return False

    def wrong_at_the_end(self, out: Path) -> list[str]:
        """What is wrong with a finished pack, by itself."""
        return self.problems(out)


def report_failure(work: Callable[[], object]) -> None:
    """Do it; what a user can cause is told in a line, as the command line does."""
    try:
        work()
    except cli.FAILURES as error:
        sys.exit(f"alexnet: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def write_photos(folder: Path, first: int = 0) -> None:
    """PNG and JPEG files in folders of classes, one of them cut off and one that is text."""
    for number in range(first, first + PHOTOS):
        place = folder / CLASSES[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(picture(number % 3, number, 40)[:, :36]))
        image.save(place / f"{number:03}.{('jpg', 'png')[number % 2]}")
    cut = min(folder.glob(f"{CLASSES[0]}/*.jpg"))
    cut.write_bytes(cut.read_bytes()[:-200])
    (folder / CLASSES[1] / "words.png").write_text("no picture")


PACKINGS: dict[str, Callable[[Path], PackingSubject]] = {
    kind: functools.partial(PackingSubject, kind) for kind in KINDS
}
