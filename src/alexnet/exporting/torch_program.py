"""A network as a file of torch.export (.pt2), of PyTorch's own operators only.

    program = torch.export.load("photos.pt2").module()     # needs PyTorch, not this package
    probabilities = program(records)                       # uint8 (N, side, side, 3), RGB

Kernels of this package are replaced by their references in plain PyTorch. The metadata are an extra
file in the archive, `alexnet.json`. `export` calls `write_program`, and `comparison` runs the file
that was just written.

Never open a .pt2 that others have made with this module: torch.export.load unpickles parts of it,
which can run any code. So `predict.load` refuses such files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint
from alexnet.colors import TO_CHROMA, TO_LUMA, TO_RGB
from alexnet.exporting.metadata import ExportMetadata, InputKind
from alexnet.exporting.preprocessing_graph import crop_center_mean
from alexnet.exporting.runtimes import ExportedNetwork
from alexnet.kernels.runtime.backends import references_only

EXTRA = "alexnet.json"
"""The extra file in the archive that holds the metadata."""


class WholeNetwork(nn.Module):
    """A network with its preprocessing before it and softmax after it."""

    mean: Tensor
    to_luma: Tensor
    to_chroma: Tensor
    to_rgb: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.pixels, self.crop = network, preprocessing.pixels, preprocessing.crop
        self.begin, self.scale = preprocessing.center_offset, preprocessing.pixel_scale
        self.register_buffer("mean", crop_center_mean(preprocessing))
        if self.pixels == "yuv420":
            matrices = {"to_luma": TO_LUMA, "to_chroma": TO_CHROMA, "to_rgb": TO_RGB}
            for name, matrix in matrices.items():
                self.register_buffer(name, torch.tensor(matrix, dtype=torch.float32))

    def forward(self, records: Tensor) -> Tensor:
        """Records, uint8 (N, side, side, 3), RGB → probabilities, float32 (N, classes)."""
        colors = records.float()
        if self.pixels == "yuv420":
            colors = self._round_to_yuv420(colors)
        center = slice(self.begin, self.begin + self.crop)
        images = (colors[:, center, center] - self.mean) * self.scale
        return self.network(images.permute(0, 3, 1, 2).contiguous()).float().softmax(1)

    def _round_to_yuv420(self, colors: Tensor) -> Tensor:
        """Convert colors (N, side, side, 3) to a yuv420 record and back: what is left of them.

        As `preprocessing_graph` does it, and `images.records` in integers.
        """
        half = colors.shape[1] // 2
        sums = colors.reshape(-1, half, 2, half, 2, 3).sum((2, 4))
        luma = _shift_right(colors @ self.to_luma, 1 << 15, 16)
        chroma = _shift_right(sums @ self.to_chroma, (1 << 17) - 1, 18)
        tints = chroma @ self.to_rgb  # what chroma adds to R, G and B of each block
        return tints.repeat_interleave(2, 1).repeat_interleave(2, 2) + luma


def _shift_right(x: Tensor, rounding: int, bits: int) -> Tensor:
    """Compute (x + rounding) >> bits in floating point."""
    return ((x + float(rounding)) * 2.0**-bits).floor()


def write_program(trained: Checkpoint, path: Path, input_kind: InputKind) -> None:
    """Write the network as a .pt2, with preprocessing and softmax if it takes records."""
    metadata = ExportMetadata.of(trained, "float32", input_kind)
    program = trace_program(trained, input_kind)
    with _quiet():
        torch.export.save(program, path, extra_files={EXTRA: metadata.to_text()})


def trace_program(trained: Checkpoint, input_kind: InputKind) -> torch.export.ExportedProgram:
    """Record what a trained network computes, with preprocessing and softmax for records."""
    network, preprocessing = trained.build_network(), trained.preprocessing
    if input_kind == "images":
        return trace_module(network, torch.zeros(2, 3, preprocessing.crop, preprocessing.crop))
    records = torch.zeros(2, preprocessing.side, preprocessing.side, 3, dtype=torch.uint8)
    return trace_module(WholeNetwork(network, preprocessing), records)


@torch.no_grad()
def trace_module(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Record what a module computes, in PyTorch's own operators, for any number of images.

    `example` holds two images.
    """
    shapes = ({0: torch.export.Dim("images")},)
    with references_only():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=shapes)


class TorchProgram(ExportedNetwork):
    """A .pt2 that this process has written, opened again to be compared with its network."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        extra = {EXTRA: ""}
        with _quiet():
            self.program: Any = torch.export.load(path, extra_files=extra).module()
        self.metadata = ExportMetadata.from_text(extra[EXTRA], path)

    def run_network(self, images: Any) -> Any:
        """Compute logits: see `ExportedNetwork.run_network`. Only for files that take images."""
        return self._run(self.program, images)

    def predict_records(self, records: Any) -> Any:
        """Compute probabilities: see `ExportedNetwork.predict_records`."""
        return self._run(self.program, records)

    def compute_logits(self, images: Tensor, records: Any) -> Tensor:
        """Compute the logits: see `ExportedNetwork.compute_logits`."""
        if self.metadata.input_kind == "images":
            return self(images)
        return torch.from_numpy(self._run(_without_softmax(self.program), records))

    @torch.no_grad()
    def _run(self, program: Any, array: Any) -> Any:
        return program(torch.from_numpy(array)).numpy()


def _without_softmax(program: Any) -> Any:
    """Return a copy of a program of records that ends before the softmax, with the logits."""
    graph = torch.fx.Graph()
    softmax = next(x for x in reversed(program.graph.nodes) if "softmax" in str(x.target))
    values: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.graph_copy(program.graph, values)
    graph.output(values[softmax.args[0]])
    return torch.fx.GraphModule(program, graph)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks of torch.export on its archive from the terminal; errors are raised anyway."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
