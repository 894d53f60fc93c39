"""Which of millions of names come more than once, in a few bytes a name."""

from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.sources.limits import MOST_CHARACTERS, MOST_IMAGES, MOST_NAMES


class NameBudget:
    """How many names of one source are kept in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = self._characters = 0

    @property
    def half_spent(self) -> bool:
        """Whether what is not needed should no longer be kept."""
        return 2 * self._names > MOST_NAMES or 2 * self._characters > MOST_CHARACTERS

    def spend(self, name: str) -> None:
        """Keep one more name. Raises ValueError where that would be too many."""
        self._names += 1
        self._characters += len(name)
        if self._names > MOST_NAMES or self._characters > MOST_CHARACTERS:
            raise ValueError(
                f"{self._path} has too many folders or classes: at most {MOST_NAMES:,}, with names "
                f"of {MOST_CHARACTERS:,} characters together, are read"
            )


class NameCounter:
    """Counts names by their hashes, to find those that are repeated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashes = array("q")

    def add(self, name: str) -> None:
        """Count one name. Raises ValueError for more than MOST_IMAGES of them."""
        if len(self._hashes) == MOST_IMAGES:
            raise ValueError(
                f"{self._path} names more than {MOST_IMAGES:,} images: divide it into several"
            )
        self._hashes.append(hash(name))

    def repeated(self) -> "Repeated":
        """The names that were counted more than once; this ends the counting."""
        hashes = np.frombuffer(self._hashes, np.int64)
        hashes.sort()
        return Repeated(*np.unique(hashes[_with_equal_neighbor(hashes)], return_counts=True))


class Repeated:
    """Hashes of repeated names, sorted, and how often each of them comes."""

    def __init__(self, hashes: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        self._hashes, self._times = hashes, times
        self._seen = np.zeros(len(hashes), np.int32)

    def __len__(self) -> int:
        return len(self._hashes)

    def anew(self) -> "Repeated":
        """The same names, none of them seen yet."""
        return Repeated(self._hashes, self._times)

    def see(self, name: str) -> tuple[int, int]:
        """See a name once more: how often it has been seen, and how often it comes in all."""
        if not len(self._hashes):
            return 1, 1
        key = hash(name)
        at = int(np.searchsorted(self._hashes, key))
        if at == len(self._hashes) or self._hashes[at] != key:
            return 1, 1
        self._seen[at] += 1
        return int(self._seen[at]), int(self._times[at])


def _with_equal_neighbor(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the sorted values are there more than once."""
    found = np.zeros(len(values), bool)
    equal = values[1:] == values[:-1]
    found[1:] |= equal
    found[:-1] |= equal
    return found
