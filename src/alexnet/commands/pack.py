"""`alexnet pack`: make a pack of labeled images, or describe a pack.

The functions below the command are also used by `train`, `evaluate` and `demo`, which pack images
themselves: they draw the progress bar and say what was packed. Imports packing only when it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.packing.progress import PackingProgress
    from alexnet.packs.pack import Pack
    from alexnet.screen import Bar
    from alexnet.sources import Source


@dataclass(frozen=True)
class PackCommand:
    """Decode and resize labeled images once, into a pack."""

    images: Positional[str | None] = None
    """A folder of train/<class>/* and val/<class>/*, or of classes; a zip or tar archive of these;
    a CSV or JSONL of path and label; the ILSVRC, CIFAR, MNIST, small NORB or Caltech archives as
    distributed; or `digits`, which scikit-learn contains."""
    pack: Positional[Path | None] = None
    """Where to put the pack. By default packs/<name of the images>.pack, or where there is one of
    these images already. If it exists, it is updated: only images that changed are decoded."""
    size: int | None = None
    """Width and height of the packed images in pixels; by default 256, or the size of the images if
    all have the same."""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """How images are made square: `crop` cuts off the ends of the longer side, `pad` adds borders,
    `squash` changes the aspect ratio."""
    pixels: Literal["rgb", "yuv420"] = "rgb"
    """Format of the stored pixels: yuv420 takes half the bytes of rgb."""
    val_fraction: float | None = None
    """Fraction of each class held out for validation if the source has no validation split; by
    default a tenth, but at least one image of a class that has two. Choosing them requires a pass
    over the names first; a compressed archive is read twice."""
    seed: int | None = None
    """Seed of the random choice of these images; 0 by default."""
    group_by: str | None = None
    """Hold out whole groups, so that the same person or scene is never on both sides: a column of
    the CSV or JSONL, or a regular expression that finds the group in class/name, as '^[^_]*'."""
    val_list: Path | None = None
    """A text file with the names of the validation images, one a line, as cats/1.jpg."""
    test_list: Path | None = None
    """A text file with the names of the test images. `evaluate --split test` measures on them."""
    upright: bool | None = None
    """Turn images as their EXIF orientation says. On by default, except for the ILSVRC archives,
    which are read as in 2012."""
    processes: int | None = None
    """Number of decoding processes; by default one per core. Each needs memory for one file (at
    most 1 GiB) and for decoding it; the packing process and the shared memory take at most 2 GiB.
    """
    max_pixels: int = 178_956_970
    """Skip images with more pixels than this, and images that need more than 12 times as many
    bytes to decode."""
    timeout: float = 30.0
    """Seconds after which an image that is still being decoded is skipped."""
    info: Path | None = None
    """Describe this pack instead of making one."""
    sheet: Path | None = None
    """With --info: write a contact sheet to this PNG file."""
    verify: bool = False
    """With --info: read all files and compare them with the checksums, classes, counts, mean and
    color components in pack.json."""
    json: bool = False
    """With --info: print pack.json."""

    def run(self) -> int:
        """Make a pack, or describe one; return the exit status."""
        self._check_options()
        if self.info is not None:
            return self._describe(self.info)
        if self.images is None:
            raise ValueError(
                "name images to pack (alexnet pack IMAGES PACK), or a pack with --info"
            )
        from alexnet.packing.arguments import check_options

        options = {k: v for k, v in vars(self).items() if k in PACKING_OPTIONS}
        check_options(options)
        holdout = {name: getattr(self, name) for name in HOLDOUT_OPTIONS}
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return self._pack_together(self.images, holdout, options)
        pack = pack_with_bar(self.images, self.pack, holdout, **options)
        print(f"Train on it: alexnet train {pack.path}")
        return 0

    def _pack_together(self, images: str, holdout: dict[str, Any], options: dict[str, Any]) -> int:
        """Pack with the other processes that torchrun has started; return the exit status."""
        from alexnet.images.decoder_group import count_cores
        from alexnet.packing.sharing import Helpers, share
        from alexnet.processes import join
        from alexnet.sources import open_source

        with join() as world:
            given = choose_holdout(images, self.pack, holdout) if world.rank == 0 else {}
            given = world.gather({name: _to_json(value) for name, value in given.items()})[0]
            options["processes"] = self.processes or max(1, count_cores() // world.local_size)

            def pack_here(helpers: Helpers | None) -> Pack:
                return pack_with_bar(images, self.pack, given, helpers=helpers, **options)

            open_images = partial(open_source, images, **given)
            pack = share(world, open_images, options["processes"], pack_here)
            if pack is not None:
                print(f"Train on it: alexnet train {pack.path}")
        return 0

    def _check_options(self) -> None:
        """Raise ValueError for options that belong to the other use of the command."""
        if self.info is not None and self.images is not None:
            raise ValueError(
                f"--info describes the pack {self.info}, and {self.images} is to be packed: give "
                "one of them"
            )
        given = [name for name in ("sheet", "verify", "json") if getattr(self, name)]
        if self.info is None and given:
            raise ValueError(
                f"--{given[0]} is about a pack that is there: alexnet pack --info PACK --{given[0]}"
            )

    def _describe(self, path: Path) -> int:
        """Print what is in a pack; draw a contact sheet and verify the pack if asked to."""
        from alexnet.packs.pack import open_pack
        from alexnet.packs.summary import describe_pack, draw_contact_sheet
        from alexnet.packs.verification import verify

        pack = open_pack(path)
        print(json.dumps(pack.metadata, indent=2) if self.json else describe_pack(pack))
        if self.sheet is not None:
            draw_contact_sheet(pack, self.sheet)
            print(f"Contact sheet: {self.sheet}", file=sys.stderr)
        if self.verify:
            unchecked = verify(pack)
            print("All checksums agree.", file=sys.stderr)
            for what in unchecked:
                print(f"Not checked: {what}.", file=sys.stderr)
        return 0


PACKING_OPTIONS = "size", "fit", "pixels", "upright", "processes", "max_pixels", "timeout"
"""Options that `packing.pack.pack` takes under the same name."""
HOLDOUT_OPTIONS = "val_fraction", "seed", "group_by", "val_list", "test_list"
"""Options that `sources.open_source` takes under the same name."""


def warn(text: str) -> None:
    """Print a sentence on stderr."""
    print(text, file=sys.stderr)


def pack_with_bar(
    images: str, path: Path | None, holdout: dict[str, Any] | None = None, **options: Any
) -> Pack:
    """Pack with a progress bar, and print what was found, used and skipped.

    Without a path, the pack of these images in the usual place is made, updated or opened.
    `holdout` are the arguments of `open_source` that are not None; without any, validation images
    are chosen as in the pack that is there.
    """
    from alexnet.packing.pack import pack
    from alexnet.sources import open_source

    source = open_source(images, **choose_holdout(images, path, holdout or {}))
    if path is None:
        return pack_next_to_run_with_bar(images, source, None, **options)
    with open_bar(images, source) as bar:
        made = pack(source, path, progress=draw_progress(bar), say=bar.say, **options)
        print_summary(bar, made)
    return made


def choose_holdout(images: str, path: Path | None, holdout: dict[str, Any]) -> dict[str, Any]:
    """Return how images are held out: as asked for, or else as in the pack that is there."""
    from alexnet.packing.automatic import find_holdout, get_holdout
    from alexnet.packing.versions import read_valid

    if given := {name: value for name, value in holdout.items() if value is not None}:
        return given
    return get_holdout(read_valid(path) or {}) if path else find_holdout(images, None, warn)


def _to_json(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def pack_next_to_run_with_bar(
    images: str, source: Source, run: Path | None, **options: Any
) -> Pack:
    """Pack in the usual place, or open the pack that is there, with a progress bar and a summary.

    The options are those of `packing.automatic.pack_next_to_run`.
    """
    from alexnet.packing.automatic import pack_name, pack_next_to_run

    with open_bar(images, source) as bar:
        progress = draw_progress(bar)
        made = pack_next_to_run(
            source, run, pack_name(images), bar.say, progress=progress, **options
        )
        print_summary(bar, made)
    return made


@contextlib.contextmanager
def open_bar(images: str, source: Source) -> Iterator[Bar]:
    """Print the kind of the source and remarks on it, then open a progress bar."""
    from alexnet.screen import Bar

    with Bar() as bar:
        bar.say(f"{images}: {source.kind}, {format_count(len(source.classes), 'class')}")
        for remark in source.remarks:
            bar.say(f"  {remark}")
        yield bar


def draw_progress(bar: Bar) -> Callable[[PackingProgress], None]:
    """Return a callback that draws the progress of a packing on a bar."""
    return lambda progress: bar.show(progress.done, progress.total, format_progress(progress))


def print_summary(bar: Bar, pack: Pack) -> None:
    """Print the summary of a pack above the bar."""
    from alexnet.packs.summary import summarize_pack

    bar.say(summarize_pack(pack))


def format_progress(progress: PackingProgress) -> str:
    """Return the progress of a packing as one line."""
    from alexnet.screen import format_duration

    total = f"/{progress.total:,}" if progress.total is not None else ""
    seconds = progress.seconds_left
    left = f"  {format_duration(seconds)} left" if seconds is not None else ""
    return (
        f"packing {progress.split}  {progress.done:,}{total} images"
        f"  {progress.images_per_second:,.0f} images/s  {progress.skipped:,} skipped{left}"
    )
