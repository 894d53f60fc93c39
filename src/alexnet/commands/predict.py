"""`alexnet predict`: what is in images."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.measure.predict import Prediction

FIGURE_IMAGES = 24


@dataclass(frozen=True)
class Predict:
    """Name what is in images: five labels and their probabilities."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    images: Positional[tuple[Path, ...]]
    """Image files, and folders of them."""
    top: int = 5
    """How many labels."""
    views: Literal[1, 5, 10] = 1
    """1: the center; 10: the ten views of section 4.1; 5: those that are not mirrored."""
    format: Literal["table", "csv", "json"] = "table"
    """How the labels are printed; json is one object a line."""
    figure: Path | None = None
    """Also draw the first images with their labels into this PNG file."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""

    def run(self) -> int:
        """Print a line or a block an image; 1 if an image could not be read."""
        if not self.images:
            raise ValueError("no images were named: alexnet predict RUN IMAGE…")
        from alexnet.measure.predict import load

        classifier = load(self.run_folder, self.device)
        stream = classifier.stream(files(self.images), top=self.top, views=self.views)
        bad = 0
        drawn: list[Prediction] = []
        for prediction in printed(stream, self.format):
            bad += prediction.error is not None
            if prediction.error is None and len(drawn) < FIGURE_IMAGES:
                drawn.append(prediction)
        if self.figure is not None:
            from alexnet.show.figures import predictions

            predictions([(x.name, x) for x in drawn], self.figure)
        if bad:
            print(f"alexnet: {bad} of the images could not be read", file=sys.stderr)
        return int(bad > 0)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and those inside folders in order, hidden ones left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, inside, names in os.walk(path):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def printed(stream: Iterable[Prediction], style: str) -> Iterator[Prediction]:
    """Print each prediction as it comes, and hand it on."""
    table = csv.writer(sys.stdout)
    if style == "csv":
        table.writerow(["image", "rank", "label", "probability", "error"])
    for prediction in stream:
        if style == "json":
            print(json.dumps(prediction.to_dict()))
        elif style == "csv":
            table.writerows(_rows(prediction))
        else:
            print(_block(prediction))
        yield prediction


def _rows(prediction: Prediction) -> list[list[object]]:
    if prediction.error is not None:
        return [[prediction.name, "", "", "", prediction.error]]
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return [[prediction.name, i, label, f"{p:.6f}", ""] for i, (label, p) in enumerate(pairs, 1)]


def _block(prediction: Prediction) -> str:
    if prediction.error is not None:
        return f"{prediction.name}\n  error: {prediction.error}"
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return "\n".join([prediction.name, *(f"  {p:7.2%}  {label}" for label, p in pairs)])
