"""`alexnet features`: the activations of a layer for every image of a pack, as an index.

`alexnet.search.build` does the work; here its progress is drawn and the next command is printed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.search.build import FeatureProgress
    from alexnet.search.index import FeatureIndex


@dataclass(frozen=True)
class Features:
    """Write what a layer of a trained network makes of every image into an index, in which `alexnet
    similar` finds the nearest images. Interrupted, the same command goes on."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    images: Positional[str]
    """A pack, or anything that `alexnet pack` reads, which is packed first (packs/NAME.pack), as
    the network needs it. The classes need not be those of the network."""
    index: Positional[Path]
    """Where to put the index: a folder of features-….npy, names.txt, labels.npy and index.json."""
    layer: str | None = None
    """The layer whose output is stored, flattened; `alexnet networks --layers NETWORK` lists them.
    By default the last hidden layer, of the paper's network fc7: 4096 activations."""
    split: str | None = None
    """Which images: train, val or test. By default those of every split. Images without splits are
    all in train if they are packed here."""
    dtype: Literal["float16", "float32"] = "float16"
    """How features are stored. float16 takes half the space, 8 KB per image for fc7, and rounds
    every number to 11 bits; float32 keeps every bit."""
    verify: bool = False
    """Read the finished index once more and compare it with its checksums."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""

    def run(self) -> int:
        """Make the index with a progress bar; return the exit status."""
        from alexnet.commands.pack import pack_next_to_run_with_bar
        from alexnet.screen import Bar
        from alexnet.search.build import build_index

        with Bar() as bar:
            index = build_index(
                self.run_folder,
                self.images,
                self.index,
                layer=self.layer,
                split=self.split,
                dtype=self.dtype,
                device=self.device,
                progress=lambda at: bar.show(at.done, at.total, format_progress(at)),
                make_pack=pack_next_to_run_with_bar,
            )
        print(summarize_index(index))
        if self.verify:
            index.verify()
            print("All checksums agree.", file=sys.stderr)
        print(f"Find similar images: alexnet similar {self.run_folder} {self.index} IMAGE")
        return 0


def format_progress(progress: FeatureProgress) -> str:
    """Return the progress of making an index as one line."""
    from alexnet.screen import format_duration

    text = f"features  {progress.done:,}/{progress.total:,} images"
    if progress.seconds_left is None:
        return text
    left = format_duration(progress.seconds_left)
    return f"{text}  {progress.images_per_second:,.0f} images/s  {left} left"


def summarize_index(index: FeatureIndex) -> str:
    """Return one line about an index: its size, its layer and its splits."""
    origin = index.metadata.origin
    splits = ", ".join(f"{part.images:,} {part.name}" for part in origin.splits)
    megabytes = sum(shard.nbytes for shard in index.features) / 1e6
    return (
        f"{index.path}: {format_count(len(index), 'image')} ({splits}), "
        f"{format_count(origin.dimensions, 'feature')} each of "
        f"{origin.layer}, {origin.dtype}, {megabytes:,.1f} MB"
    )
