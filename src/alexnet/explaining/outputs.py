"""Probabilities and features of many images, in one pass through the network.

The features are the outputs of the last hidden layer, which the paper compares images by (section
6.1): fc7 of the paper's network. Called by `show.figures`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.views import iterate_views
from alexnet.explaining.subject import Subject

Progress = Callable[[int, int], None]
"""(images done, images in all)."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network computed for N images, from the center view of each."""

    indices: NDArray[np.int64]
    """The images, as indices of their split: int64 (N,)."""
    labels: NDArray[np.int64]
    """Their labels, as the network's indices; −1 for none: int64 (N,)."""
    probabilities: NDArray[np.float32]
    """float32 (N, classes)."""
    features: NDArray[np.float32]
    """The outputs of the last hidden layer, flat: float32 (N, units); (N, 0) if not asked for."""
    layer: str
    """The name of that layer."""


@torch.inference_mode()
def compute_outputs(
    subject: Subject,
    split: str,
    indices: NDArray[np.int64],
    *,
    with_features: bool = True,
    progress: Progress | None = None,
) -> Outputs:
    """Run the network on the images at `indices` of a split.

    The probabilities are those that `alexnet evaluate` counts. Raises FileNotFoundError if the
    subject has no pack.
    """
    labels, machine = subject.read_labels(split), subject.machine
    batches = iterate_views(
        subject.require_pack().splits[split],
        labels,
        indices,
        subject.preprocessing,
        machine.device,
    )
    last: deque[tuple[str, Tensor]] = deque(maxlen=2)  # of the layers, as they are computed

    def keep(name: str, x: Tensor) -> Tensor:
        last.append((name, x))
        return x

    likely, features, done = [], [], 0
    for batch in batches:
        with machine.cast():
            logits = subject.network(batch.images, keep)
        likely.append(logits.float().softmax(1).cpu().numpy())
        hidden = last[0][1].float().flatten(1) if with_features else logits[:, :0].float()
        features.append(hidden.cpu().numpy().copy())
        done += len(likely[-1])
        if progress is not None:
            progress(done, len(indices))
    n_classes = len(subject.classes)
    return Outputs(
        indices,
        labels[indices],
        np.concatenate(likely) if likely else np.empty((0, n_classes), np.float32),
        np.concatenate(features) if features else np.empty((0, 0), np.float32),
        last[0][0] if last else "",
    )
