"""`alexnet pack`: labeled images into a pack; what is in a pack."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.packing.progress import Progress
    from alexnet.packs.pack import Pack as PackOnDisk
    from alexnet.screen import Bar
    from alexnet.sources import Source


@dataclass(frozen=True)
class Pack:
    """Decode and resize labeled images once, into a pack."""

    images: Positional[str | None] = None
    """A folder of train/<class>/* and val/<class>/*, or of classes; a CSV or JSONL of path and
    label; the ILSVRC, CIFAR, MNIST, NORB or Caltech archives as distributed; or `digits`."""
    pack: Positional[Path | None] = None
    """Where to put the pack. By default packs/<name of the images>."""
    size: int | None = None
    """Side in pixels of the packed squares; by default 256, or the images' own if all share it."""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """How an image that is not square becomes so."""
    pixels: Literal["rgb", "yuv420"] = "rgb"
    """How pixels are stored: yuv420 takes half the bytes."""
    val_fraction: float | None = None
    """Share of each class held out for validation where the source has no split, at least one
    image of two; by default a tenth. To choose, names are read first, and compressed archives once
    more."""
    seed: int = 0
    """Decides which images those are."""
    upright: bool | None = None
    """Turn images as their EXIF orientation says; by default all but those of the ILSVRC archives,
    which are read as in 2012."""
    processes: int | None = None
    """Decoding processes; by default one a core. Each takes the memory of one file (1 GiB at most)
    and of its decoding; the packing process and what it shares with them stay below 2 GiB."""
    max_pixels: int = 178_956_970
    """Images of more pixels than this are not read, nor those that take more than 12 times as many
    bytes to decode."""
    timeout: float = 30.0
    """Seconds after which an image that is still being decoded is given up."""
    info: Path | None = None
    """Print what is inside this pack, and make none."""
    sheet: Path | None = None
    """With --info: write a contact sheet to this PNG file."""
    verify: bool = False
    """With --info: read everything, and compare it with the checksums and with what pack.json says
    of classes, counts, mean and colors."""
    json: bool = False
    """With --info: print pack.json."""

    def run(self) -> int:
        """Make a pack, or tell of one."""
        from alexnet.packing.automatic import pack_name

        if self.info is not None:
            return self.tell(self.info)
        if self.images is None:
            raise ValueError(
                "name images to pack (alexnet pack IMAGES PACK), or a pack with --info"
            )
        options = {k: v for k, v in vars(self).items() if k in PACKING}
        path = self.pack or Path("packs") / pack_name(self.images)
        pack = make(self.images, path, val_fraction=self.val_fraction, seed=self.seed, **options)
        print(f"Train on it: alexnet train {pack.path}")
        return 0

    def tell(self, path: Path) -> int:
        """Print what is in a pack; draw and verify it if asked."""
        from alexnet.packs.pack import open_pack
        from alexnet.packs.summary import contact_sheet, info
        from alexnet.packs.verification import verify

        pack = open_pack(path)
        print(json.dumps(pack.facts, indent=2) if self.json else info(pack))
        if self.sheet is not None:
            contact_sheet(pack, self.sheet)
            print(f"Contact sheet: {self.sheet}", file=sys.stderr)
        if self.verify:
            unchecked = verify(pack)
            print("All checksums agree.", file=sys.stderr)
            for what in unchecked:
                print(f"Not checked: {what}.", file=sys.stderr)
        return 0


PACKING = "size", "fit", "pixels", "upright", "processes", "max_pixels", "timeout"


def make(
    images: str, path: Path, *, val_fraction: float | None = None, seed: int = 0, **options: Any
) -> PackOnDisk:
    """Pack with a bar, and say what was found, used and left out."""
    from alexnet.packing.pack import pack
    from alexnet.sources import open_source

    source = open_source(images, val_fraction=val_fraction, seed=seed)
    with packing_bar(images, source) as bar:
        made = pack(source, path, progress=packing_progress(bar), **options)
        tell_outcome(bar, made)
    return made


def make_beside(images: str, source: Source, run: Path, **options: Any) -> PackOnDisk:
    """Pack beside a run, with a bar, or open the pack that is there; say what it came to."""
    from alexnet.packing.automatic import pack_beside, pack_name

    with packing_bar(images, source) as bar:
        progress = packing_progress(bar)
        made = pack_beside(source, run, pack_name(images), bar.say, progress=progress, **options)
        tell_outcome(bar, made)
    return made


@contextlib.contextmanager
def packing_bar(images: str, source: Source) -> Iterator[Bar]:
    """A bar, after what a person should know of the images."""
    from alexnet.screen import Bar

    with Bar() as bar:
        bar.say(f"{images}: {source.kind}, {len(source.classes)} classes")
        for remark in source.remarks:
            bar.say(f"  {remark}")
        yield bar


def packing_progress(bar: Bar) -> Callable[[Progress], None]:
    """What shows on a bar where a packing stands."""
    return lambda at: bar.show(at.done, at.total, packing_line(at))


def tell_outcome(bar: Bar, pack: PackOnDisk) -> None:
    """Say what a packing came to."""
    from alexnet.packs.summary import outcome

    bar.say(outcome(pack))


def packing_line(at: Progress) -> str:
    """Where a packing stands, in one line."""
    from alexnet.screen import format_duration

    of = f"/{at.total:,}" if at.total is not None else ""
    left = f"  {format_duration(at.seconds_left)} left" if at.seconds_left is not None else ""
    return (
        f"packing {at.split}  {at.done:,}{of} images  {at.images_per_second:,.0f} images/s"
        f"  {at.skipped:,} skipped{left}"
    )
