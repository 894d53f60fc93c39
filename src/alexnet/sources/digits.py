"""scikit-learn's digits: 1,797 scans of handwritten digits, 8×8 pixels, in ten classes.

They are installed with scikit-learn, so they need no download: the first example of the README and
many tests use them. They have no splits; a fifth of each class is held out for validation.
`recognition` calls `open_digits` for the path "digits".
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from alexnet.sources.entry import Entry, Source
from alexnet.sources.holdout import HoldOut

NAME = "digits"
CLASSES = tuple(str(digit) for digit in range(10))
MAX_VALUE = 16  # a pixel is the number of black dots in a square of 4×4, which becomes 0 to 255
SIDE = 32  # records are enlarged to the size of CIFAR's images, so that its networks fit
HELD_OUT = 0.2  # a tenth would be so few that one wrong image is half a percent of error


def open_digits(hold_out: HoldOut) -> Source:
    """The digits as a Source; a fifth is held out unless `hold_out` names another fraction."""
    hold_out.check_usable(Path(NAME))
    if hold_out.fraction is None:
        hold_out = replace(hold_out, fraction=HELD_OUT)
    from sklearn.datasets import load_digits  # imported here because it takes seconds

    digits = load_digits()
    classes = [CLASSES[label] for label in digits.target]
    division = hold_out.divide((name, _name(index)) for index, name in enumerate(classes))

    def entries(split: str) -> Iterator[Entry]:
        pixels = np.rint(digits.images * (255 / MAX_VALUE)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            if division.find_split(classes[index], _name(index)) == split:
                yield Entry(split, _name(index), int(label), image)

    return Source(
        kind=NAME,
        path=Path(f"scikit-learn {NAME}"),  # shown to people; it is not a folder
        classes=CLASSES,
        wordnet_ids=None,
        splits=division.splits,
        remarks=tuple(division.remarks),
        native_size=SIDE,
        stream=entries,
        division=division.metadata(),
    )


def _name(index: int) -> str:
    return f"{index:04d}"
