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

from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from alexnet.predict import Prediction

FIGURE_IMAGES = 24
LEFT_OUT = "hidden", "not_an_image", "symlink_loop"
"""Reasons for which a file in a folder is passed over without an error: it was not meant."""


@dataclass(frozen=True)
class Predict:
    """Name what is in images: five labels and their probabilities."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    images: Positional[tuple[Path, ...]]
    """Image files, and folders of them: hidden files, lists and links in circles are left out,
    pipes, devices and what cannot be read are errors."""
    top: int = 5
    """How many labels."""
    views: Literal[1, 5, 10] = 1
    """1: the center; 10: the ten views of section 4.1; 5: those that are not mirrored."""
    format: Literal["table", "csv", "json"] = "table"
    """How the labels are printed; json is one object a line. In the others, characters of names
    that could control a terminal are escaped, as \\x1b."""
    figure: Path | None = None
    """Also draw the first images with their labels into this PNG file."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    max_pixels: int = 178_956_970
    """Images of more pixels than this are not read, nor those that take more than 12 times as many
    bytes to decode."""

    def run(self) -> int:
        """Print a line or a block an image; 1 if an image could not be read."""
        if not self.images:
            raise ValueError("no images were named: alexnet predict RUN IMAGE…")
        from alexnet.predict import load

        classifier = load(self.run_folder, self.device, max_pixels=self.max_pixels)
        found = ImageFiles()
        stream = classifier.stream(found.files(self.images), top=self.top, views=self.views)
        bad = seen = 0
        drawn: list[Prediction] = []
        for prediction in printed(found.with_errors(stream), self.format):
            seen += 1
            bad += prediction.error is not None
            if prediction.error is None and len(drawn) < FIGURE_IMAGES:
                drawn.append(prediction)
        if self.figure is not None:
            from alexnet.show.figures import predictions

            predictions([(x.name, x) for x in drawn], self.figure)
        if bad:
            print(f"alexnet: {bad} of the images could not be read", file=sys.stderr)
        if not seen:
            raise ValueError(f"there are no files to look at in {', '.join(map(str, self.images))}")
        return int(bad > 0)


class ImageFiles:
    """The files that are named and those in named folders, found as `alexnet pack` finds them."""

    def __init__(self) -> None:
        self._handed_out = 0
        self._errors: list[tuple[int, Prediction]] = []
        """What cannot be read, and how many files were handed out before it."""

    def files(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Every file to look into, sorted within its folder. What is left out is named on stderr.

        Pipes, devices, locked folders and broken links are kept as errors instead.
        """
        for path in paths:
            if os.path.isdir(path):
                yield from self._inside(path)
            else:
                self._handed_out += 1
                yield path

    def _inside(self, folder: Path) -> Iterator[Path]:
        from alexnet.sources.directory import Directory
        from alexnet.sources.entry import Skipped

        try:
            tree = Directory(folder)
        except OSError as error:
            self._error(folder, error.strerror or str(error))
            return
        for item in tree.walk("", ""):
            path = folder / item.name
            if not isinstance(item, Skipped):
                self._handed_out += 1
                yield path
            elif item.reason in LEFT_OUT:
                print(f"alexnet: left out: {path} ({item.detail})", file=sys.stderr)
            else:
                self._error(path, f"{item.reason}: {item.detail}")

    def _error(self, path: Path, error: str) -> None:
        from alexnet.predict import Prediction

        self._errors.append((self._handed_out, Prediction(str(path), error=error)))

    def with_errors(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Predictions of the files, with the errors where these were found among them."""
        for number, prediction in enumerate(predictions):
            yield from self._errors_before(number)
            yield prediction
        yield from self._errors_before(self._handed_out)

    def _errors_before(self, number: int) -> Iterator[Prediction]:
        while self._errors and self._errors[0][0] <= number:
            yield self._errors.pop(0)[1]


def printed(stream: Iterable[Prediction], style: str) -> Iterator[Prediction]:
    """Print each prediction as it comes, and hand it on."""
    table = csv.writer(sys.stdout, lineterminator="\n")
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
    name = escape_unprintable(prediction.name)
    if prediction.error is not None:
        return f"{name}\n  error: {escape_unprintable(prediction.error)}"
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return "\n".join([name, *(f"  {p:7.2%}  {escape_unprintable(label)}" for label, p in pairs)])
