"""Views of an image for evaluation: the center crop, or the ten crops of section 4.1.

The ten views are five crops of the packed image and their mirror images. With 256×256 records and
224×224 crops the largest offset is 32, and the crops begin at (row, column)::

      (0, 0) ─────────┬───────── (0, 32)
        │ 0: top left │ 1: top right │            views 5 to 9 are the views 0 to 4,
        │       ┌─────┴─────┐        │            mirrored left to right
        ├───────┤ 2: center ├────────┤
        │       │ (16, 16)  │        │
        │       └─────┬─────┘        │
        │ 3: bottom l.│ 4: bottom r. │
      (32, 0) ────────┴──────── (32, 32)

Evaluation and prediction call this module; `evaluation.counts` averages the network's softmax
outputs over the views of an image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet.batches.augment import AugmentationParams, augment
from alexnet.batches.loaders import Batch
from alexnet.batches.preprocessing import Preprocessing
from alexnet.batches.transfer import RecordStream, prefetch
from alexnet.packs.pack import Split

VIEWS = 1, 5, 10
"""The numbers of views that can be asked for."""


def make_view(n_images: int, top: int, left: int, flip: bool = False) -> AugmentationParams:
    """Make the same view of N images: one crop position, mirrored or not, no color shift."""
    return AugmentationParams(
        torch.full((n_images,), top),
        torch.full((n_images,), left),
        torch.full((n_images,), flip),
        torch.zeros(n_images, 3),
    )


def make_center_view(n_images: int, max_offset: int) -> AugmentationParams:
    """Make the view of N images that is their central crop."""
    return make_view(n_images, max_offset // 2, max_offset // 2)


def make_ten_views(n_images: int, max_offset: int) -> Iterator[AugmentationParams]:
    """Yield the ten views of section 4.1 in the order of the 2012 code.

    Top left, top right, center, bottom left, bottom right; then the same five mirrored.
    """
    center = max_offset // 2
    corners = (0, 0), (0, max_offset), (center, center), (max_offset, 0), (max_offset, max_offset)
    for flip in (False, True):
        for top, left in corners:
            yield make_view(n_images, top, left, flip)


def make_views(n_views: int, n_images: int, max_offset: int) -> list[AugmentationParams]:
    """Make `n_views` views of N images.

    1: the center. 10: the ten views of section 4.1. 5: the first five of them, which are not
    mirrored, for images such as text and digits that change their meaning when mirrored.

    Raises ValueError for any other number.
    """
    if n_views == 1:
        return [make_center_view(n_images, max_offset)]
    if n_views not in VIEWS:
        raise ValueError(f"n_views is {n_views}, but must be 1 (center), 5 or 10 (section 4.1)")
    return list(make_ten_views(n_images, max_offset))[:n_views]


def iterate_views(
    split: Split,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    *,
    n_views: int = 1,
    batch_size: int = 128,
) -> Iterator[Batch]:
    """Yield batches of the images at `indices` of a split, in that order, `n_views` views of each.

    The views of an image are consecutive (`make_views`). A batch of N images has images of the
    shape (N · n_views, 3, crop, crop) and labels (N,), taken from `labels` by index in the split.
    """
    if device.type == "cuda":
        yield from _iterate_views_on_gpu(
            split, labels[indices], indices, preprocessing, device, n_views, batch_size
        )
        return

    def make(part: NDArray[np.int64]) -> Batch:
        images = crop_views(split.gather(part), preprocessing, n_views)
        return Batch(images, torch.from_numpy(labels[part]), part)

    for batch, _ in prefetch(map(make, _divide(indices, batch_size))):
        yield batch


def _divide(indices: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices in parts of `batch_size`; the last part can be shorter."""
    for start in range(0, len(indices), batch_size):
        yield indices[start : start + batch_size]


def _iterate_views_on_gpu(
    split: Split,
    labels: NDArray[np.int64],
    indices: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    n_views: int,
    batch_size: int,
) -> Iterator[Batch]:
    """Yield the same batches, cropped on the GPU; the records are copied there one batch ahead.

    `labels` are those of the images at `indices`, and are copied once: a copy per batch would make
    the caller wait for the GPU.
    """
    batch_size = min(batch_size, len(indices))
    record_stream = RecordStream(split, batch_size, device, Split.gather)
    labels_on_device = iter(torch.from_numpy(labels).to(device).split(max(1, batch_size)))
    views = [view.to(device) for view in make_views(n_views, batch_size, preprocessing.max_offset)]
    for streamed, _ in record_stream.copies(_divide(indices, max(1, batch_size))):
        n_images = len(streamed.records)
        images = _crop(streamed.records, [view[:n_images] for view in views], preprocessing)
        streamed.used.record()
        yield Batch(images, next(labels_on_device), streamed.indices)


def crop_views(records: NDArray[np.uint8], preprocessing: Preprocessing, n_views: int) -> Tensor:
    """Preprocess records into views, on the device of `preprocessing.mean`.

    uint8 (N, *record_shape) → float (N · n_views, 3, crop, crop), channels_last. The views of an
    image are consecutive. Raises ValueError for a number of views other than 1, 5 and 10.
    """
    device = preprocessing.mean.device
    views = make_views(n_views, len(records), preprocessing.max_offset)
    on_device = [view.to(device) for view in views]
    return _crop(torch.from_numpy(records).to(device), on_device, preprocessing)


def _crop(records: Tensor, views: list[AugmentationParams], preprocessing: Preprocessing) -> Tensor:
    """Crop every view from every record, the views of a record next to each other."""
    rows = torch.arange(len(records), device=records.device)
    crops = [augment(records, view, preprocessing, indices=rows) for view in views]
    if len(crops) == 1:
        return crops[0]
    images = torch.stack(crops, dim=1).flatten(0, 1)
    return images.contiguous(memory_format=torch.channels_last)
