"""scikit-learn's digits: 1,797 scans of handwritten numerals, 8×8, installed with the library."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alexnet.data.sources.entry import Entry, Source
from alexnet.data.sources.holdout import HoldOut

NAME = "digits"
CLASSES = tuple(str(digit) for digit in range(10))
INK = 16  # the scans count black dots in squares of 4×4
SIDE = 32  # they are enlarged to the size of CIFAR's images, for the same networks
HELD_OUT = 0.2  # with one tenth, one wrong image would be half a percent of error


def open_digits(hold_out: HoldOut) -> Source:
    """The digits, a fifth of them held out unless another fraction is asked for."""
    if hold_out.fraction is None:
        hold_out = HoldOut(HELD_OUT, hold_out.seed)

    def entries(split: str) -> Iterator[Entry]:
        from sklearn.datasets import load_digits  # here: it takes seconds to import

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / INK)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            name = f"{index:04d}"
            if hold_out.split(CLASSES[label], name) == split:
                yield Entry(split, name, int(label), image)

    return Source(
        kind=NAME,
        path=Path(f"scikit-learn {NAME}"),  # no folder of that name is meant
        classes=CLASSES,
        wordnet_ids=None,
        splits=hold_out.splits,
        remarks=(hold_out.remark,),
        native_size=SIDE,
        stream=entries,
    )
