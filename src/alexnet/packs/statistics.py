"""The mean image and the principal components of color, computed from exact integer sums.

Integer sums do not depend on the order of the images, so a packing that was interrupted and resumed
gives bit for bit the same statistics. `packing.loop` adds up records while it packs, and
`packs.verification` adds up the stored records again to compare. The nine moments of an image are
sums over its pixels, of each color and of each product of two colors:

    Σr  Σg  Σb   Σrr  Σrg  Σrb  Σgg  Σgb  Σbb
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.images.records import Format, records_to_rgb
from alexnet.packs.checked_files import map_array

FOLD = 257
"""Number of bytes whose sum always fits in 16 bits: 257 · 255 = 65,535."""


class Sums:
    """Sums over the training images: the byte at each position of a record, and the nine moments.

    Records are added in 16 bits, which is fast, and moved to 64 bits before these can overflow.
    """

    def __init__(self, record_bytes: int) -> None:
        self.images, self.record_bytes = 0, record_bytes
        self.moments = [0] * 9
        self._total = np.zeros(record_bytes, np.uint64)
        self._recent = np.zeros(record_bytes, np.uint16)

    def add(self, record: NDArray[np.uint8], moments: NDArray[np.int64]) -> None:
        """Add one image: its flat record and its `images.records.moments`."""
        self._recent += record
        self.moments = [old + int(new) for old, new in zip(self.moments, moments, strict=True)]
        self.images += 1
        if self.images % FOLD == 0:
            self._fold()

    def _fold(self) -> None:
        """Move the 16-bit sums into the 64-bit sums."""
        self._total += self._recent
        self._recent[:] = 0

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum over all records of the byte at each position: uint64 (record_bytes,)."""
        self._fold()
        return self._total

    def add_records(self, records: NDArray[np.uint8], pixels: Format) -> None:
        """Add N stored images, uint8 (N, record_bytes).

        The moments are updated only for rgb records: those of yuv420 images were computed from
        the RGB image before it was stored.
        """
        self._total += records.sum(0, dtype=np.uint64)
        self.images += len(records)
        if pixels == "rgb":
            colors = records.reshape(-1, 3).astype(np.float64)  # whole numbers below 2^53: exact
            sums = (*colors.sum(0), *(colors.T @ colors)[np.triu_indices(3)])
            self.moments = [old + int(new) for old, new in zip(self.moments, sums, strict=True)]

    def restore(self, total: Path, moments: list[int], images: int) -> None:
        """Continue from saved sums. Raises ValueError if they are larger than `images` allow."""
        found = map_array(total, self._total.shape, np.uint64)
        if found.max(initial=0) > 255 * images:
            raise ValueError(f"{total} is damaged: it has more than {images} images can sum to")
        self._total[:] = found
        self.moments, self.images = moments, images

    def mean(self, size: int, pixels: Format) -> NDArray[np.float32]:
        """Return the mean image in RGB: float32 (size, size, 3).

        The mean of yuv420 records is converted to RGB once, because the conversion is linear.
        """
        mean = self.total / np.float64(self.images)
        return records_to_rgb(mean[None], size, pixels)[0].astype(np.float32)

    def components(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the principal components of the RGB values of all pixels (section 4.1).

        Returns the components, (3, 3), one per column, and the standard deviation along each,
        (3,), ascending. The sign of a component is arbitrary; here its largest element is positive.
        """
        variances, columns = np.linalg.eigh(self.covariance(size))
        largest = columns[np.abs(columns).argmax(0), np.arange(3)]
        return columns * np.sign(largest), np.sqrt(np.maximum(variances, 0.0))

    def covariance(self, size: int) -> NDArray[np.float64]:
        """Compute the covariance of the colors, (3, 3): (n Σxy − Σx Σy) / n².

        The numerator is an exact Python integer; rounding happens only in the division.
        """
        n = self.images * size * size
        colors, products = self.moments[:3], iter(self.moments[3:])
        covariance = np.empty((3, 3))
        for i in range(3):
            for j in range(i, 3):
                exact = n * next(products) - colors[i] * colors[j]
                covariance[i, j] = covariance[j, i] = exact / n**2
        return covariance
