"""`alexnet export`: a trained network as a file that other programs run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.exporting.write import Exported


@dataclass(frozen=True)
class Export:
    """Write a trained network as ONNX or OpenVINO IR, and check that it computes the same."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    out: Positional[Path]
    """The file to write: .onnx for ONNX, .xml for OpenVINO (which puts the weights into a .bin)."""
    pack: Path | None = None
    """Images to check with, and to choose int8's ranges by. By default the pack of the training or,
    where that is not found, the few images that the run keeps (not for int8)."""
    int8: bool = False
    """Weights and activations of eight bits: a quarter of the size, faster on a CPU."""
    network_only: bool = False
    """Leave out what prepares images: the file takes float32 N 3 crop crop, minus the mean and
    scaled, and gives logits. By default it takes uint8 N side side 3, RGB, and gives
    probabilities."""
    samples: int = 300
    """With --int8: how many training images choose the ranges."""
    allow: float = 0.5
    """With --int8: how many points of top-1 error it may cost. No file is kept that costs more."""

    def run(self) -> int:
        """Write, compare, and print what was found."""
        from alexnet.exporting.write import export
        from alexnet.screen import Bar

        with Bar() as bar:
            exported = export(
                self.run_folder,
                self.out,
                pack=self.pack,
                int8=self.int8,
                network_only=self.network_only,
                samples=self.samples,
                allow=self.allow,
                say=bar.say,
            )
        print(summary(exported))
        return 0


def summary(found: Exported) -> str:
    """What was written and how it compares."""
    lines = [f"{found.path}: {found.precision}, {found.size / 1e6:,.1f} MB"]
    if found.network is None or found.file is None:
        lines.append(
            f"  its logits are the network's but for {found.difference:.1g} of the largest, "
            f"on {found.images} images ({found.source})"
        )
    else:
        ours, its = found.network, found.file
        lines += [
            f"  on {found.images:,} images ({found.source})   top-1 error  top-5 error",
            f"  the network as trained, float32 {ours.top1:11.2%}  {ours.top5:11.2%}",
            f"  the file, int8                  {its.top1:11.2%}  {its.top5:11.2%}",
            f"  difference in points            {100 * (its.top1 - ours.top1):+11.2f}"
            f"  {100 * (its.top5 - ours.top5):+11.2f}",
        ]
    if found.whole_difference is not None:
        lines.append("  it takes uint8 N side side 3, RGB, and gives probabilities")
    return "\n".join([*lines, f"Use it: alexnet predict {found.path} IMAGE…"])
