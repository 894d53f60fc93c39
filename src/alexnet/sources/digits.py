"""scikit-learn's digits: 1,797 scans of handwritten numerals, 8×8, installed with the library."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.sources.entry import Entry, Source
from alexnet.sources.holdout import HoldOut

NAME = "digits"
CLASSES = tuple(str(digit) for digit in range(10))
INK = 16  # the scans count black dots in squares of 4×4
SIDE = 32  # they are enlarged to the size of CIFAR's images, for the same networks
HELD_OUT = 0.2  # with one tenth, one wrong image would be half a percent of error


def open_digits(hold_out: HoldOut) -> Source:
    """The digits, a fifth of them held out unless another fraction is asked for."""
    if hold_out.fraction is None:
        hold_out = replace(hold_out, fraction=HELD_OUT)
    from sklearn.datasets import load_digits  # here: it takes seconds to import

    digits = load_digits()
    classes = [CLASSES[label] for label in digits.target]
    division = hold_out.divide((name, _name(index)) for index, name in enumerate(classes))

    def entries(split: str) -> Iterator[Entry]:
        pixels = np.rint(digits.images * (255 / INK)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            if division.split(classes[index], _name(index)) == split:
                yield Entry(split, _name(index), int(label), image)

    return Source(
        kind=NAME,
        path=Path(f"scikit-learn {NAME}"),  # no folder of that name is meant
        classes=CLASSES,
        wordnet_ids=None,
        splits=division.splits,
        remarks=tuple(division.remarks),
        native_size=SIDE,
        stream=entries,
        division=division.facts(),
    )


def _name(index: int) -> str:
    return f"{index:04d}"
