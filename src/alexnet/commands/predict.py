"""`alexnet predict`: the most probable labels of images.

With `--format json` the command prints one JSON object per line and image, in the order of the
images; the most probable label comes first, and probabilities are from 0 to 1::

    {"image": "cat.jpg", "labels": [{"label": "tabby", "probability": 0.71}, …]}
    {"image": "bad.jpg", "error": "truncated: Premature end of JPEG file"}

`alexnet.predict.Prediction.to_dict` makes these objects. With `--format csv` the columns are image,
rank (from 1), label, probability and error.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tyro.conf import Positional

from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from alexnet.predict import Prediction

Result = TypeVar("Result")
FIGURE_IMAGES = 24
LEFT_OUT = "hidden", "not_an_image", "symlink_loop"
"""Reasons for which a file in a folder is left out without an error: the user did not mean it."""


@dataclass(frozen=True)
class Predict:
    """Print the most probable labels of images, with their probabilities."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last), a checkpoint file, or a file that
    `alexnet export` made."""
    images: Positional[tuple[Path, ...]]
    """Image files, and folders of image files. In folders, hidden files, files that are not images
    and symlink loops are skipped; pipes, devices and unreadable files are errors."""
    top: int = 5
    """The number of labels to print per image."""
    views: Literal[1, 5, 10] = 1
    """1: the center crop; 10: the ten views of section 4.1; 5: those that are not mirrored."""
    format: Literal["table", "csv", "json"] = "table"
    """How to print the labels. json prints one object per line: {"image": …, "labels": [{"label":
    …, "probability": …}, …]}, or {"image": …, "error": …} if the image could not be read. In a
    table, control characters in names are escaped, as in \\x1b."""
    figure: Path | None = None
    """Also draw the first 24 images with their labels into this file, .png or .svg."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    max_pixels: int = 178_956_970
    """Images with more pixels are not read, and neither are images whose decoding needs more than
    12 times as many bytes of memory."""

    def run(self) -> int:
        """Print the labels of every image; return 1 if an image could not be read."""
        if not self.images:
            raise ValueError("no images were named: alexnet predict RUN IMAGE…")
        from alexnet.commands.refusals import refuse_reversed
        from alexnet.predict import load

        refuse_reversed("predict", self.run_folder, self.images)
        classifier = load(self.run_folder, self.device, max_pixels=self.max_pixels)
        finder = ImageFinder()
        stream = classifier.stream(finder.find(self.images), top=self.top, views=self.views)
        n_errors = n_images = 0
        drawn: list[Prediction] = []
        for prediction in print_each(finder.insert_errors(stream), self.format):
            n_images += 1
            n_errors += prediction.error is not None
            if prediction.error is None and len(drawn) < FIGURE_IMAGES:
                drawn.append(prediction)
        if self.figure is not None:
            draw_figure(drawn, n_images - n_errors, self.figure)
        if n_errors:
            print(f"alexnet: {n_errors} of the images could not be read", file=sys.stderr)
        if not n_images:
            raise ValueError(f"there are no image files in {', '.join(map(str, self.images))}")
        return int(n_errors > 0)


def draw_figure(drawn: list[Prediction], n_readable: int, path: Path) -> None:
    """Draw images with their labels, and say so if that is not all of them."""
    from alexnet.show.predictions import draw_predictions
    from alexnet.show.style import load_square, save_figure

    if not drawn:
        print(f"alexnet: {path} was not drawn: no image could be read", file=sys.stderr)
        return
    images = [load_square(Path(x.name)) for x in drawn]
    save_figure(draw_predictions(images, drawn, total=n_readable), path)
    if n_readable > len(drawn):
        print(
            f"alexnet: {path} has the first {len(drawn)} of {n_readable:,} images", file=sys.stderr
        )


class ImageFinder:
    """Finds the named files and the files in named folders, as `alexnet pack` finds them.

    A classifier takes files only, so the errors that are met while walking folders are kept here,
    with the number of files before them, and put back into the stream of predictions.
    """

    def __init__(self) -> None:
        self._n_files = 0
        """Files that `find` has yielded."""
        self._errors: deque[tuple[int, Prediction]] = deque()
        """What cannot be read, and how many files were yielded before it."""

    def find(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Yield every file, sorted within its folder. Files that are left out are named on stderr.

        Pipes, devices, unreadable folders and broken links are kept for `insert_errors` instead.
        """
        for path in paths:
            if os.path.isdir(path):
                yield from self._walk(path)
            else:
                self._n_files += 1
                yield path

    def _walk(self, folder: Path) -> Iterator[Path]:
        from alexnet.sources.directory import Directory
        from alexnet.sources.entry import Skipped

        try:
            tree = Directory(folder)
        except OSError as error:
            self._keep_error(folder, error.strerror or str(error))
            return
        for item in tree.walk("", ""):
            path = folder / item.name
            if not isinstance(item, Skipped):
                self._n_files += 1
                yield path
            elif item.reason in LEFT_OUT:
                print(f"alexnet: left out: {path} ({item.detail})", file=sys.stderr)
            else:
                self._keep_error(path, f"{item.reason}: {item.detail}")

    def _keep_error(self, path: Path, error: str) -> None:
        from alexnet.predict import Prediction

        self._errors.append((self._n_files, Prediction(str(path), error=error)))

    def insert_errors(self, results: Iterable[Result]) -> Iterator[Result | Prediction]:
        """Yield the results for the files, with the kept errors where they were met."""
        for number, result in enumerate(results):
            yield from self._take_errors(number)
            yield result
        yield from self._take_errors(self._n_files)

    def _take_errors(self, number: int) -> Iterator[Prediction]:
        """Yield, once, the errors that were met before file `number`."""
        while self._errors and self._errors[0][0] <= number:
            yield self._errors.popleft()[1]


def print_each(predictions: Iterable[Prediction], style: str) -> Iterator[Prediction]:
    """Print each prediction as table, csv or json, and yield it."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    if style == "csv":
        table.writerow(["image", "rank", "label", "probability", "error"])
    for prediction in predictions:
        if style == "json":
            print(json.dumps(prediction.to_dict()))
        elif style == "csv":
            table.writerows(_format_csv(prediction))
        else:
            print(_format_table(prediction))
        yield prediction


def _format_csv(prediction: Prediction) -> list[list[object]]:
    """Return a row per label, or one row with the error."""
    if prediction.error is not None:
        return [[prediction.name, "", "", "", prediction.error]]
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return [[prediction.name, i, label, f"{p:.6f}", ""] for i, (label, p) in enumerate(pairs, 1)]


def _format_table(prediction: Prediction) -> str:
    """Return the image's name and, indented, a line per label or the error."""
    name = escape_unprintable(prediction.name)
    if prediction.error is not None:
        return f"{name}\n  error: {escape_unprintable(prediction.error)}"
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return "\n".join([name, *(f"  {p:7.2%}  {escape_unprintable(label)}" for label, p in pairs)])
