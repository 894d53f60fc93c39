"""Finds which of millions of names occur more than once, in eight bytes per name.

`tarball` and `image_list` make two passes: the first counts all names (`NameCounter`), and each
later one asks how often the current name has occurred so far (`RepeatedNames`). Names are compared
by 64-bit hashes. `NameBudget` limits the names that are kept as text.
"""

from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.sources.limits import MOST_CHARACTERS, MOST_IMAGES, MOST_NAMES


class NameBudget:
    """Limits the number and length of the names of one source (a path) that are kept in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = self._characters = 0

    @property
    def half_spent(self) -> bool:
        """Whether half of the budget is spent, so that only necessary names should be kept."""
        return 2 * self._names > MOST_NAMES or 2 * self._characters > MOST_CHARACTERS

    def spend(self, name: str) -> None:
        """Count one more name that is kept. Raises ValueError if the budget is exceeded."""
        self._names += 1
        self._characters += len(name)
        if self._names > MOST_NAMES or self._characters > MOST_CHARACTERS:
            raise ValueError(
                f"{self._path} has too many folders or classes: at most {MOST_NAMES:,}, with names "
                f"of {MOST_CHARACTERS:,} characters together, are read"
            )


class NameCounter:
    """The first pass: collects the hashes of all names of one source (a path)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashes = array("q")

    def add(self, name: str) -> None:
        """Add one name. Raises ValueError for more than MOST_IMAGES of them."""
        if len(self._hashes) == MOST_IMAGES:
            raise ValueError(
                f"{self._path} names more than {MOST_IMAGES:,} images: divide it into several"
            )
        self._hashes.append(hash(name))

    def find_repeated(self) -> "RepeatedNames":
        """The names that were added more than once. No name can be added afterwards."""
        hashes = np.frombuffer(self._hashes, np.int64)
        hashes.sort()
        return RepeatedNames(*np.unique(hashes[_with_equal_neighbor(hashes)], return_counts=True))


class RepeatedNames:
    """A later pass: the sorted hashes of repeated names, and how often each occurs in all."""

    def __init__(self, hashes: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        self._hashes, self._times = hashes, times
        self._so_far = np.zeros(len(hashes), np.int32)

    def __len__(self) -> int:
        return len(self._hashes)

    def restart(self) -> "RepeatedNames":
        """The same names for another pass, in which none has occurred yet."""
        return RepeatedNames(self._hashes, self._times)

    def count(self, name: str) -> tuple[int, int]:
        """Count one more occurrence of a name.

        Returns how often it has occurred in this pass, and how often it occurs in all.
        """
        if not len(self._hashes):
            return 1, 1
        key = hash(name)
        at = int(np.searchsorted(self._hashes, key))
        if at == len(self._hashes) or self._hashes[at] != key:
            return 1, 1
        self._so_far[at] += 1
        return int(self._so_far[at]), int(self._times[at])


def _with_equal_neighbor(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A mask of the sorted values that occur more than once."""
    mask = np.zeros(len(values), bool)
    equal = values[1:] == values[:-1]
    mask[1:] |= equal
    mask[:-1] |= equal
    return mask
