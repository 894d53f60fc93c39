"""`alexnet predict`: the most probable labels of images.

With `--format json` the command prints one JSON object per line and image, in the order of the
images; the most probable label comes first, and probabilities are from 0 to 1::

    {"image": "cat.jpg", "labels": [{"label": "tabby", "probability": 0.71}, …]}
    {"image": "bad.jpg", "error": "truncated: Premature end of JPEG file"}
    {"image": "dim.jpg", "labels": [], "unsure": true, "probability": 0.41}

The last form is that of an image whose highest probability is below `--threshold`.
`alexnet.predict.Prediction.to_dict` makes these objects. With `--format csv` the columns are
`COLUMNS`. docs/files.md describes both; they stay as they are.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tyro.conf import Positional

from alexnet.terminal import escape_unprintable, format_count

if TYPE_CHECKING:
    from alexnet.commands.sorted_folder import Origin, SortedFolder
    from alexnet.predict import Prediction
    from alexnet.sources.entry import Entry, Skipped

Result = TypeVar("Result")
COLUMNS = "image", "rank", "label", "probability", "error"
"""The columns of `--format csv`."""
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
    """Image files, zip archives of them, and folders, with all folders and archives inside. Hidden
    files, files that are not images and symlink loops are skipped; pipes, devices, unreadable files
    and encrypted or damaged members of archives are errors. Archives are not extracted to disk."""
    top: int = 5
    """The number of labels to print per image."""
    threshold: float | None = None
    """An image whose highest probability is below this, from 0 to 1, gets no label: it is unsure.
    For example, 0.8."""
    sort_into: Path | None = None
    """Copy the images into folders of this folder, named after their most probable labels; unsure
    images into the folder `unsure`. No file is overwritten; repeating the command adds only what is
    missing. Characters that a name must not have are written as %XX."""
    link: bool = False
    """With --sort-into: make symbolic links to the images instead. Images from archives are
    copied."""
    views: Literal[1, 5, 10] = 1
    """1: the center crop; 10: the ten views of section 4.1; 5: those that are not mirrored."""
    format: Literal["table", "csv", "json"] = "table"
    """How to print the labels. json prints one object per line: {"image": …, "labels": [{"label":
    …, "probability": …}, …]}, or {"image": …, "error": …} if the image could not be read; an
    unsure image has no labels and "unsure": true. In a table, control characters in names are
    escaped, as in \\x1b."""
    figure: Path | None = None
    """Also draw the first 24 images with their labels into this file, .png or .svg."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    max_pixels: int = 178_956_970
    """Images with more pixels are not read, and neither are images whose decoding needs more than
    12 times as many bytes of memory."""

    def run(self) -> int:
        """Print the labels of every image; return 1 if an image could not be read or copied."""
        self.check()
        from alexnet.commands.refusals import refuse_reversed
        from alexnet.predict import load

        refuse_reversed("predict", self.run_folder, self.images)
        classifier = load(self.run_folder, self.device, max_pixels=self.max_pixels)
        finder, tally = ImageFinder(), Tally()
        folder = self.open_sorted_folder()
        stream = classifier.stream(finder.find(self.images), top=self.top, views=self.views)
        predictions = map(self.judge, finder.insert_errors(stream))
        for prediction in print_each(predictions, self.format, self.threshold):
            tally.add(prediction, finder.origin)
            if folder is not None and finder.origin is not None:
                tally.n_not_sorted += not put_into(folder, finder.origin, prediction)
        if self.figure is not None:
            draw_figure(tally, self.figure)
        self.print_counts(tally, folder)
        if not tally.n_images:
            raise ValueError(f"there are no image files in {', '.join(map(str, self.images))}")
        return int(tally.n_errors + tally.n_not_sorted > 0)

    def check(self) -> None:
        """Raise ValueError for options that make no sense, before anything is loaded."""
        if not self.images:
            raise ValueError("no images were named: alexnet predict RUN IMAGE…")
        if self.top < 1:
            raise ValueError(f"--top {self.top}: at least one label is needed")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"--threshold {self.threshold:g} is no probability: it is from 0 to 1, as 0.8"
            )
        if self.link and self.sort_into is None:
            raise ValueError("--link needs a folder for the links: --sort-into FOLDER")
        if self.figure is not None:
            from alexnet.show.style import check_figure_path

            check_figure_path(self.figure)
        if self.sort_into is not None:
            from alexnet.commands.sorted_folder import check_place

            check_place(self.sort_into, self.images)

    def open_sorted_folder(self) -> SortedFolder | None:
        """Make the folder of `--sort-into`."""
        if self.sort_into is None:
            return None
        from alexnet.commands.sorted_folder import SortedFolder

        return SortedFolder(self.sort_into, link=self.link)

    def judge(self, prediction: Prediction) -> Prediction:
        """Take the labels from an unsure prediction."""
        return prediction if self.threshold is None else prediction.apply_threshold(self.threshold)

    def print_counts(self, tally: Tally, folder: SortedFolder | None) -> None:
        """Say on stderr what became of the images, as far as that is not usual."""
        lines = []
        if self.threshold is not None:
            lines.append(
                f"unsure: {tally.n_unsure:,} of "
                f"{format_count(tally.n_images - tally.n_errors, 'image')}, whose highest "
                f"probability is below {self.threshold:g}"
            )
        if folder is not None:
            lines.append(folder.describe())
        if tally.n_not_sorted:
            lines.append(f"Not sorted: {format_count(tally.n_not_sorted, 'image')}, see above")
        if tally.n_errors:
            lines.append(f"{tally.n_errors} of the images could not be read")
        for line in lines:
            print(f"alexnet: {line}", file=sys.stderr)


@dataclass
class Tally:
    """Counts of what was predicted, and the first images, which the figure shows."""

    n_images: int = 0
    n_errors: int = 0
    n_unsure: int = 0
    n_not_sorted: int = 0
    drawn: list[tuple[Prediction, Origin]] = field(default_factory=list)

    def add(self, prediction: Prediction, origin: Origin | None) -> None:
        """Count an image; `origin` is where it can be read again."""
        self.n_images += 1
        self.n_errors += prediction.error is not None
        self.n_unsure += prediction.unsure is not None
        readable = prediction.error is None and origin is not None
        if readable and len(self.drawn) < FIGURE_IMAGES:
            self.drawn.append((prediction, origin))  # type: ignore[arg-type]


def put_into(folder: SortedFolder, origin: Origin, prediction: Prediction) -> bool:
    """Copy an image into the folder of its label; say so and return False if it has vanished."""
    if prediction.error is not None:
        return True  # counted as an error already
    label = None if prediction.unsure is not None else prediction.labels[0]
    try:
        folder.add(origin, label)
    except (FileNotFoundError, PermissionError) as error:
        print(f"alexnet: not sorted: {prediction.name}: {error.strerror}", file=sys.stderr)
        return False
    return True


def draw_figure(tally: Tally, path: Path) -> None:
    """Draw images with their labels, and say so if that is not all of them."""
    from alexnet.show.predictions import draw_predictions
    from alexnet.show.style import load_square, save_figure
    from alexnet.sources.zip_members import ZipMember, read_member

    if not tally.drawn:
        print(f"alexnet: {path} was not drawn: no image could be read", file=sys.stderr)
        return
    n_readable = tally.n_images - tally.n_errors
    images = [
        load_square(read_member(x) if isinstance(x, ZipMember) else x) for _, x in tally.drawn
    ]
    drawn = [prediction for prediction, _ in tally.drawn]
    save_figure(draw_predictions(images, drawn, total=n_readable), path)
    if n_readable > len(drawn):
        print(
            f"alexnet: {path} has the first {len(drawn)} of {format_count(n_readable, 'image')}",
            file=sys.stderr,
        )


class ImageFinder:
    """Finds the named files and the files in named folders, as `alexnet pack` finds them.

    A classifier takes images only, so the errors that are met while walking folders are kept here,
    with the number of images before them, and put back into the stream of predictions.
    """

    def __init__(self) -> None:
        self.origin: Origin | None = None
        """Where the image can be read again whose result `insert_errors` has yielded last."""
        self._origins: deque[Origin] = deque()
        """The same of the images that `find` has yielded and that have no result yet."""
        self._n_files = 0
        """Images that `find` has yielded."""
        self._errors: deque[tuple[int, Prediction]] = deque()
        """What cannot be read, and how many images were yielded before it."""

    def find(self, paths: Iterable[Path]) -> Iterator[Path | Entry]:
        """Yield every image, sorted within its folder; those of an archive in its own order.

        Files that are left out are named on stderr. Pipes, devices, unreadable folders, broken
        links and unusable members of archives are kept for `insert_errors` instead.
        """
        for path in paths:
            if os.path.isdir(path):
                yield from self._walk(path)
            else:
                yield from self._yield_file(path)

    def _yield_file(self, path: Path) -> Iterator[Path | Entry]:
        """Yield a file, or the images in it if it is a zip archive."""
        from alexnet.sources.zip_members import is_zip_name

        if is_zip_name(path):
            yield from self._open_archive(path)
        else:
            self._count(path)
            yield path

    def _walk(self, folder: Path) -> Iterator[Path | Entry]:
        from alexnet.sources.directory import Directory
        from alexnet.sources.entry import Skipped

        try:
            tree = Directory(folder)
        except OSError as error:
            self._keep_error(folder, error.strerror or str(error))
            return
        for item in tree.walk("", ""):
            if isinstance(item, Skipped):
                self._leave_out(folder / item.name, item)
            else:
                yield from self._yield_file(folder / item.name)

    def _open_archive(self, path: Path) -> Iterator[Entry]:
        """Yield the images in a zip archive, which is read member by member."""
        from alexnet.sources.entry import UNLABELED, Entry, Skipped
        from alexnet.sources.zip_members import UnusableMember, ZipArchive

        try:
            archive = ZipArchive(path)
        except OSError as error:
            self._keep_error(path, f"unreadable: {error.strerror or error}")
            return
        with archive:
            for item in archive.walk():
                if isinstance(item, Skipped):
                    self._leave_out(path / item.name.lstrip("/"), item)
                    continue
                try:
                    content = archive.read(item)
                except UnusableMember as error:
                    self._keep_error(path / item.name, f"{error.reason}: {error}")
                    continue
                self._count(item)
                yield Entry("", str(path / item.name), UNLABELED, content)

    def _count(self, origin: Origin) -> None:
        self._n_files += 1
        self._origins.append(origin)

    def _leave_out(self, path: Path, item: Skipped) -> None:
        """Name a file that is left out, or keep its error."""
        if item.reason in LEFT_OUT:
            print(f"alexnet: left out: {path} ({item.detail})", file=sys.stderr)
        else:
            self._keep_error(path, f"{item.reason}: {item.detail}")

    def _keep_error(self, path: Path, error: str) -> None:
        from alexnet.predict import Prediction

        self._errors.append((self._n_files, Prediction(str(path), error=error)))

    def insert_errors(self, results: Iterable[Result]) -> Iterator[Result | Prediction]:
        """Yield the results for the images, with the kept errors where they were met."""
        for number, result in enumerate(results):
            yield from self._take_errors(number)
            self.origin = self._origins.popleft()
            yield result
        yield from self._take_errors(self._n_files)

    def _take_errors(self, number: int) -> Iterator[Prediction]:
        """Yield, once, the errors that were met before file `number`."""
        self.origin = None
        while self._errors and self._errors[0][0] <= number:
            yield self._errors.popleft()[1]


def print_each(
    predictions: Iterable[Prediction], style: str, threshold: float | None = None
) -> Iterator[Prediction]:
    """Print each prediction as table, csv or json, and yield it."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    if style == "csv":
        table.writerow(COLUMNS)
    for prediction in predictions:
        if style == "json":
            print(json.dumps(prediction.to_dict()))
        elif style == "csv":
            table.writerows(_format_csv(prediction))
        else:
            print(_format_table(prediction, threshold))
        yield prediction


def _format_csv(prediction: Prediction) -> list[list[object]]:
    """Return a row per label, or one row without a rank: with the error, or of an unsure image."""
    if prediction.error is not None:
        return [[prediction.name, "", "", "", prediction.error]]
    if prediction.unsure is not None:
        return [[prediction.name, "", "unsure", f"{prediction.unsure:.6f}", ""]]
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return [[prediction.name, i, label, f"{p:.6f}", ""] for i, (label, p) in enumerate(pairs, 1)]


def _format_table(prediction: Prediction, threshold: float | None) -> str:
    """Return the image's name and, indented, a line per label, the error or "unsure"."""
    name = escape_unprintable(prediction.name)
    if prediction.error is not None:
        return f"{name}\n  error: {escape_unprintable(prediction.error)}"
    if prediction.unsure is not None:
        return f"{name}\n  unsure: at most {prediction.unsure:.2%}, below {threshold:.2%}"
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    return "\n".join([name, *(f"  {p:7.2%}  {escape_unprintable(label)}" for label, p in pairs)])
