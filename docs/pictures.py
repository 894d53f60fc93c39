"""Draw the picture of the README: validation photographs with a network's five labels.

python docs/pictures.py RUN FOLDER docs/imagenette.png
"""

import dataclasses
import sys
from pathlib import Path

import alexnet
from alexnet.show.predictions import draw_predictions
from alexnet.show.style import load_square, save_figure

WORDS = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Imagenette's folders are WordNet ids; these are their words."""


def main(run: Path, folder: Path, out: Path) -> None:
    """Twelve photographs, the n-th of each class, chosen by nothing but their place."""
    classifier = alexnet.load(run)
    classes = sorted(WORDS)
    files = [
        sorted((folder / wnid).iterdir())[100 + 37 * (k // 10)]
        for k, wnid in enumerate(classes * 2)
    ]
    guesses = classifier.predict(files[:12])
    assert isinstance(guesses, list)
    named = [dataclasses.replace(g, labels=tuple(WORDS[x] for x in g.labels)) for g in guesses]
    truths = [WORDS[file.parent.name] for file in files[:12]]
    images = [load_square(file) for file in files[:12]]
    save_figure(draw_predictions(images, named, truths=truths), out)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
