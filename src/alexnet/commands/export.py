"""`alexnet export`: a trained network as a file or a folder that other programs read.

The command parses its arguments here and prints the comparison; `alexnet.exporting` does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.exporting.comparison import Exported


@dataclass(frozen=True)
class Export:
    """Write a trained network for other programs (ONNX, OpenVINO IR, torch.export, or a folder for
    the Hugging Face hub), and check that it computes the same."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    out: Positional[Path]
    """What to write: a file .onnx for ONNX, .xml for OpenVINO (which puts the weights into a .bin)
    or .pt2 for torch.export; a name without extension is a folder for the Hugging Face hub:
    safetensors, config.json and a model card. A README.md that is there already is kept."""
    format: Literal["onnx", "openvino", "torch", "hub"] | None = None
    """What to write, if the name does not say it: hub for a folder with a dot in its name."""
    pack: Path | None = None
    """Images to compare the file with the network on, and to calibrate --int8 with. By default the
    pack of the training or, if it is no longer there, the few images that the run keeps (not for
    --int8)."""
    int8: bool = False
    """Quantize weights and activations to int8: a quarter of the size, faster on a CPU."""
    network_only: bool = False
    """Leave preprocessing and softmax out of the file: it then takes float32 (N, 3, crop, crop),
    with the mean subtracted and scaled, and gives logits. By default it takes uint8
    (N, side, side, 3), RGB, and gives probabilities."""
    samples: int = 300
    """With --int8: how many training images calibrate the quantization ranges."""
    allow: float = 0.5
    """With --int8: the largest acceptable increase of the top-1 error, in percentage points. A file
    above it is deleted."""

    def run(self) -> int:
        """Write the file, compare it with the network and print the comparison."""
        from alexnet.exporting.export import export
        from alexnet.screen import Bar

        with Bar() as bar:
            exported = export(
                self.run_folder,
                self.out,
                format=self.format,
                pack=self.pack,
                int8=self.int8,
                network_only=self.network_only,
                samples=self.samples,
                allow=self.allow,
                say=bar.say,
            )
        print(summarize(exported))
        return 0


def summarize(exported: Exported) -> str:
    """Return what was written and how it compares with the network, as text for people."""
    from alexnet.evaluation.counts import has_top5

    lines = [f"{exported.path}: {exported.precision}, {exported.size / 1e6:,.1f} MB"]
    if exported.network is None or exported.file is None:
        lines.append(
            f"  its logits differ from the network's by at most {exported.difference:.1g} of the "
            f"largest logit, on {format_count(exported.images, 'image')} ({exported.source})"
        )
    else:
        network, file = exported.network, exported.file
        errors = [("top-1 error", network.top1, file.top1)]
        if has_top5(len(network.per_class)):
            errors.append(("top-5 error", network.top5, file.top5))
        columns = [
            (name, f"{before:.2%}", f"{after:.2%}", f"{100 * (after - before):+.2f}")
            for name, before, after in errors
        ]
        heads = [
            f"on {format_count(exported.images, 'image')} ({exported.source})",
            "the network as trained, float32",
            "the file, int8",
            "difference in points",
        ]
        lines += [
            f"  {head:<31}" + "".join(f"  {cell:>11}" for cell in cells)
            for head, *cells in zip(heads, *columns, strict=True)
        ]
    if exported.whole_difference is not None:
        lines.append("  it takes uint8 (N, side, side, 3), RGB, and gives probabilities")
    return "\n".join([*lines, _advise(exported.path)])


def _advise(path: Path) -> str:
    """Return the line that says how to use what was written."""
    if path.suffix == ".pt2":
        return f'Use it: torch.export.load("{path}").module()'
    use = f"Use it: alexnet predict {path} IMAGE…"
    if path.is_dir():
        return f"{use}\nRead {path / 'README.md'} before you publish it: it names no license yet"
    return use
