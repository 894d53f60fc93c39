"""`alexnet import`: the weights of torchvision's or Caffe's network become a run.

The command parses its arguments here and says what can be done next; `alexnet.importing` does the
rest. torch is imported only when the command runs.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from alexnet.terminal import format_count


@dataclass(frozen=True)
class Import:
    """Make a run of weights of ImageNet: torchvision's alexnet, or Caffe's bvlc_alexnet or
    caffenet. Then predict, evaluate, export and `train --init` work on it."""

    file: Positional[Path]
    """.pth or .safetensors with torchvision's weights (alexnet-owt-7be5be79.pth), or a
    .caffemodel."""
    run_folder: Positional[Path]
    """The folder of the run, which is made."""
    classes: Path | None = None
    """A file with the names of the classes in order: one a line, with or without WordNet ids
    (Caffe's synset_words.txt), or JSON. Without it they are called `class 0`, `class 1`, …"""
    mean: Path | None = None
    """The mean image of a network of Caffe: .binaryproto, or .npy as Caffe orders it. Without it,
    the mean color of ImageNet is used."""

    def run(self) -> int:
        """Import, and print what was imported and the next commands."""
        from alexnet.importing.run import import_weights

        imported = import_weights(self.file, self.run_folder, classes=self.classes, mean=self.mean)
        place = shlex.quote(str(imported.run))
        print(
            f"{place}: network `{imported.network}`, {imported.parameters:,} parameters, "
            f"{format_count(imported.n_classes, 'class')}, crops of "
            f"{imported.crop}×{imported.crop} from images "
            f"of {imported.side}×{imported.side}"
        )
        if self.classes is None:
            print("Its classes have numbers for names: --classes FILE names them.")
        print(f"Use it:       alexnet predict {place} IMAGE…")
        print(f"Fine-tune it: alexnet train IMAGES RUN --init {place}")
        return 0
