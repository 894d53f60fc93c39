"""`alexnet similar`: the images of an index that are most similar to other images.

With `--format json` the command prints one JSON object per line and image, the nearest first::

    {"image": "cat.jpg", "similar": [{"image": "train/cat/7.jpg", "split": "train", "index": 7,
                                      "label": "cat", "distance": 31.4}, …]}
    {"image": "bad.jpg", "error": "truncated: the file ends early"}

`search.similar.SimilarImages.to_dict` makes these objects. With `--format csv` the columns are
image, rank (from 1), similar, split, label, distance and error.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from alexnet.commands.predict import ImageFinder
from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from alexnet.packs.pack import Pack
    from alexnet.predict import Prediction
    from alexnet.search.index import FeatureIndex
    from alexnet.search.similar import SimilarImage, SimilarImages

FIGURE_ROWS = 12
COLUMNS = "image", "rank", "similar", "split", "label", "distance", "error"


@dataclass(frozen=True)
class Similar:
    """Print the images of an index that are nearest to others in the features of the network: those
    that it considers most similar (section 6.1)."""

    run_folder: Positional[Path]
    """The run, or the checkpoint file, whose network made the index."""
    index: Positional[Path]
    """An index that `alexnet features` made."""
    images: Positional[tuple[Path, ...]]
    """Image files, and folders of image files."""
    number: Annotated[int, arg(name="k", aliases=["-k"])] = 6
    """The number of similar images to print per image."""
    split: str | None = None
    """Search only the images of this split, such as train. By default all of the index."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """The distance: euclidean, as in the paper, or cosine (1 minus the cosine), which ignores the
    length of the feature vectors."""
    codes: bool = False
    """Search in the binary codes that `alexnet codes` made, and compare the features of the
    candidates only: faster in large indexes, and a few of the nearest images may be missed."""
    format: Literal["table", "csv", "json"] = "table"
    """How to print. json prints one object per line: {"image": …, "similar": [{"image": …, "split":
    …, "index": …, "label": …, "distance": …}, …]}, or {"image": …, "error": …} if the image could
    not be read. In a table, control characters in names are escaped, as in \\x1b."""
    figure: Path | None = None
    """Also draw the first 12 images, each with its nearest ones to the right of it, into this file,
    .png or .svg, as in the right part of Figure 4. Their pixels are those in the pack."""
    pack: Path | None = None
    """The pack that the index was made of, for --figure, if it is not where it was."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    max_pixels: int = 178_956_970
    """Images with more pixels are not read, and neither are images whose decoding needs more than
    12 times as many bytes of memory."""

    def run(self) -> int:
        """Print the similar images of every image; return 1 if an image could not be read."""
        if not self.images:
            raise ValueError("no images were named: alexnet similar RUN INDEX IMAGE…")
        if self.figure is not None:
            from alexnet.show.style import check_figure_path

            check_figure_path(self.figure)
        from alexnet.search.similar import open_search

        options: dict[str, Any] = {
            "metric": self.metric,
            "codes": self.codes,
            "device": self.device,
            "max_pixels": self.max_pixels,
        }
        with open_search(self.run_folder, self.index, **options) as search:
            pack = search.index.open_pack(self.pack) if self.figure is not None else None
            finder = ImageFinder()
            stream = search.stream(finder.find(self.images), self.number, self.split)
            found = map(_keep_error, finder.insert_errors(stream))
            n_errors = n_images = 0
            drawn: list[SimilarImages] = []
            for result in print_each(found, self.format):
                n_images += 1
                n_errors += result.error is not None
                if result.error is None and len(drawn) < FIGURE_ROWS:
                    drawn.append(result)
            if self.figure is not None and pack is not None and drawn:
                self._draw(drawn, search.index, pack, search.classifier.options.pixels)
        if n_errors:
            print(f"alexnet: {n_errors} of the images could not be read", file=sys.stderr)
        if not n_images:
            raise ValueError(f"there are no image files in {', '.join(map(str, self.images))}")
        return int(n_errors > 0)

    def _draw(
        self, results: list[SimilarImages], index: FeatureIndex, pack: Pack, pixels: Any
    ) -> None:
        """Draw the queries and the images similar to them."""
        from alexnet.images.records import records_to_pictures
        from alexnet.show.neighbors import draw_neighbors
        from alexnet.show.style import save_figure

        def convert_record(record: Any, format: Any) -> NDArray[Any]:
            return records_to_pictures(record[None], pack.size, format)[0]

        def read_similar(image: SimilarImage) -> NDArray[Any]:
            split, position = index.locate(image.index)
            return convert_record(pack.splits[split].gather([position])[0], pack.pixels)

        figure = draw_neighbors(
            [convert_record(result.record, pixels) for result in results],
            [[read_similar(image) for image in result.similar] for result in results],
            query_names=[Path(result.name).name for result in results],
            neighbor_labels=[[image.label for image in result.similar] for result in results],
            neighbor_names=[
                [Path(image.name).name for image in result.similar] for result in results
            ],
            distances=[[image.distance for image in result.similar] for result in results],
        )
        assert self.figure is not None
        save_figure(figure, self.figure)


def _keep_error(result: SimilarImages | Prediction) -> SimilarImages:
    """Return a result; that of a file that `ImageFinder` could not find is made of its error."""
    from alexnet.search.similar import SimilarImages

    if isinstance(result, SimilarImages):
        return result
    return SimilarImages(result.name, error=result.error)


def print_each(results: Iterable[SimilarImages], style: str) -> Iterator[SimilarImages]:
    """Print each result as table, csv or json, and yield it."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    if style == "csv":
        table.writerow(COLUMNS)
    for result in results:
        if style == "json":
            print(json.dumps(result.to_dict()))
        elif style == "csv":
            table.writerows(_format_csv(result))
        else:
            print(_format_table(result))
        yield result


def _format_csv(result: SimilarImages) -> list[list[object]]:
    """Return a row per similar image, or one row with the error."""
    if result.error is not None:
        return [[result.name, *[""] * 5, result.error]]
    return [
        [result.name, rank, x.name, x.split, x.label or "", f"{x.distance:.9g}", ""]
        for rank, x in enumerate(result.similar, 1)
    ]


def _format_table(result: SimilarImages) -> str:
    """Return the image's name and, indented, a line per similar image or the error."""
    name = escape_unprintable(result.name)
    if result.error is not None:
        return f"{name}\n  error: {escape_unprintable(result.error)}"
    width = max((len(x.label or "-") for x in result.similar), default=0)
    lines = [
        f"  {x.distance:#10.4g}  {escape_unprintable(x.label or '-'):<{width}}"
        f"  {escape_unprintable(x.name)}"
        for x in result.similar
    ]
    return "\n".join([name, *lines])
