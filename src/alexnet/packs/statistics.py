"""The mean of every pixel and the principal components of color, from exact integer sums.

Integers make the result independent of the order of the images and of interruptions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.images.records import Format, records_to_rgb
from alexnet.packs.pack import map_array

FOLD = 257
"""16 bits hold the sum of this many bytes."""


class Sums:
    """Sums over the training images: every byte of a record, the colors and their products."""

    def __init__(self, record_bytes: int) -> None:
        self.images, self.record_bytes = 0, record_bytes
        self.moments = [0] * 9
        self._total = np.zeros(record_bytes, np.uint64)
        self._recent = np.zeros(record_bytes, np.uint16)

    def add(self, record: NDArray[np.uint8], moments: NDArray[np.int64]) -> None:
        """Count one image: its flat record and its moments (see `pixels.moments`)."""
        self._recent += record
        self.moments = [old + int(new) for old, new in zip(self.moments, moments, strict=True)]
        self.images += 1
        if self.images % FOLD == 0:
            self._fold()

    def _fold(self) -> None:
        self._total += self._recent
        self._recent[:] = 0

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of every byte of the records."""
        self._fold()
        return self._total

    def add_records(self, records: NDArray[np.uint8], pixels: Format) -> None:
        """Count stored images, N flat records; of yuv420 records no moments, which are of RGB."""
        self._total += records.sum(0, dtype=np.uint64)
        self.images += len(records)
        if pixels == "rgb":
            colors = records.reshape(-1, 3).astype(np.float64)  # whole numbers below 2^53: exact
            sums = (*colors.sum(0), *(colors.T @ colors)[np.triu_indices(3)])
            self.moments = [old + int(new) for old, new in zip(self.moments, sums, strict=True)]

    def restore(self, total: Path, moments: list[int], images: int) -> None:
        """Go on from sums that were saved. Raises ValueError for sums that cannot be."""
        found = map_array(total, self._total.shape, np.uint64)
        if found.max(initial=0) > 255 * images:
            raise ValueError(f"{total} is damaged: it has more than {images} images can sum to")
        self._total[:] = found
        self.moments, self.images = moments, images

    def mean(self, size: int, pixels: Format) -> NDArray[np.float32]:
        """size size 3: the mean image in RGB, also of yuv420 records, since colors are linear."""
        mean = self.total / np.float64(self.images)
        return records_to_rgb(mean[None], size, pixels)[0].astype(np.float32)

    def components(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Principal components of the RGB values of all pixels (section 4.1), and the deviations.

        3 3, one component a column, and 3, ascending. The largest element of each component is
        positive.
        """
        variances, columns = np.linalg.eigh(self.covariance(size))
        largest = columns[np.abs(columns).argmax(0), np.arange(3)]
        return columns * np.sign(largest), np.sqrt(np.maximum(variances, 0.0))

    def covariance(self, size: int) -> NDArray[np.float64]:
        """The covariance of the colors, 3 3, rounded only at the end: (n Σxy − Σx Σy) / n²."""
        n = self.images * size * size
        color, products = self.moments[:3], iter(self.moments[3:])
        covariance = np.empty((3, 3))
        for i in range(3):
            for j in range(i, 3):
                exact = n * next(products) - color[i] * color[j]
                covariance[i, j] = covariance[j, i] = exact / n**2
        return covariance
