"""All figures of a run, by name: what `alexnet figures` draws and a report shows.

    for drawn in iterate_figures("runs/photos"):
        if drawn.figure is not None:
            save_figure(drawn.figure, f"{drawn.name}.svg")

`Material` computes what the figures need, each thing once and only if a figure asks for it;
`FIGURES` says how each is drawn from it. A figure whose data is missing is skipped, and the reason
is kept. `draw_figures` is public as `alexnet.draw_figures`. Imports `explaining`, never `training`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.explaining.confusion import (
    count_confusions,
    find_confident_mistakes,
    score_classes,
)
from alexnet.show import augmentation, classes, curves, feature_map, heat_maps, kernels
from alexnet.show.neighbors import draw_neighbors
from alexnet.show.predictions import draw_predictions
from alexnet.show.style import Format, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet.explaining.outputs import Outputs, Progress
    from alexnet.explaining.subject import Examples, Subject
    from alexnet.predict import Prediction

SHOWN, MISTAKES, EXPLAINED, QUERIES, NEIGHBORS = 12, 12, 6, 5, 6
"""Images in the figures of predictions, of mistakes, of heat maps; queries and their neighbors."""
MOST_MAPPED = 2000
"""Images in the map of features: more points hide each other."""
LARGEST_SEARCH = 10_000
"""Training images among which neighbors are looked for; in a larger split, evenly spaced ones."""


class MissingDataError(Exception):
    """A figure cannot be drawn because what it shows is not there; the message says what."""


@dataclass(frozen=True)
class DrawnFigure:
    """One figure of a run, or why there is none."""

    name: str
    """Its name in `FIGURES`, and of its file."""
    title: str
    """What it shows, in a few words; the same is above it."""
    explanation: str
    """How to read it, in a sentence or two: a caption, and the text for those who cannot see it."""
    figure: Figure | None = None
    skipped: str = ""
    """Why there is no figure."""
    path: Path | None = None
    """The file, if it was written."""


class Material:
    """What figures are drawn from, computed when first asked for and kept.

    Every property raises MissingDataError, OSError or ValueError if what it needs is missing.
    """

    def __init__(
        self,
        run: str | Path,
        pack: str | Path | None = None,
        *,
        split: str | None = None,
        device: str = "auto",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Args as those of `iterate_figures`. Nothing is read yet."""
        self.run, self._pack, self._split, self._device = Path(run), pack, split, device
        self._progress = progress

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.run.parent if self.run.is_file() else self.run

    @functools.cached_property
    def subject(self) -> Subject:
        """The network and its images."""
        from alexnet.explaining.subject import open_subject

        return open_subject(self.run, self._pack, device=self._device)

    @functools.cached_property
    def split(self) -> str:
        """The split whose images are shown and measured."""
        return self.subject.choose_split(self._split)

    @functools.cached_property
    def outputs(self) -> Outputs:
        """Probabilities of all images of the split; features too, if that is not too many."""
        images = len(self.subject.require_pack().splits[self.split])
        return self._compute(self.split, np.arange(images), images <= LARGEST_SEARCH)

    @functools.cached_property
    def labeled(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (N,) and probabilities (N, classes) of the images that have a label."""
        known = self.outputs.labels >= 0
        if not known.any():
            raise MissingDataError(f"the {self.split} images have no labels of the network")
        return self.outputs.labels[known], self.outputs.probabilities[known]

    @functools.cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Who was taken for whom: int64 (C, C)."""
        labels, likely = self.labeled
        return count_confusions(labels, likely.argmax(1), len(self.subject.classes))

    @functools.cached_property
    def searched(self) -> Outputs:
        """Features of the training images among which neighbors are found."""
        from alexnet.packs.samples import space_evenly

        splits = self.subject.require_pack().splits
        if "train" not in splits or not len(splits["train"]):
            raise MissingDataError("the pack has no training images to find neighbors among")
        indices = space_evenly(LARGEST_SEARCH, len(splits["train"]))
        return self._compute("train", indices, True)

    def _compute(self, split: str, indices: NDArray[np.int64], with_features: bool) -> Outputs:
        from alexnet.explaining.outputs import compute_outputs

        progress: Progress | None = None
        if self._progress is not None:
            progress = functools.partial(self._progress, split)
        return compute_outputs(
            self.subject, split, indices, with_features=with_features, progress=progress
        )

    def predict(self, examples: Examples) -> NDArray[np.float32]:
        """Return the probabilities of some images: float32 (N, classes)."""
        import torch

        from alexnet.batches.views import crop_views

        subject = self.subject
        with torch.inference_mode(), subject.machine.cast():
            views = crop_views(examples.records, subject.preprocessing, 1)
            return subject.network(views).float().softmax(1).cpu().numpy()

    def name_predictions(
        self, names: Sequence[str], likely: NDArray[np.float32]
    ) -> list[Prediction]:
        """Make predictions of probabilities (N, classes): the five most probable labels."""
        from alexnet.predict import Prediction

        best = np.argsort(-likely, axis=1, kind="stable")[:, :5]
        return [
            Prediction(name, tuple(self.subject.classes[i] for i in order), tuple(row[order]))
            for name, order, row in zip(names, best, likely, strict=True)
        ]

    def name_labels(self, labels: NDArray[np.int64]) -> list[str] | None:
        """Return the classes of labels, or None if an image has none."""
        return [self.subject.classes[i] for i in labels] if (labels >= 0).all() else None


def _draw_kernels(material: Material, title: str) -> Figure:
    from alexnet.explaining.kernels import read_first_kernels

    return kernels.draw_kernels(*read_first_kernels(material.subject.trained.weights), title=title)


def _draw_curves(material: Material, title: str) -> Figure:
    path = material.folder / "log.jsonl"
    if not path.is_file():
        raise MissingDataError(f"there is no {path}")
    return curves.draw_curves(curves.read_log(path), title=title)


def _draw_predictions(material: Material, title: str) -> Figure:
    examples = material.subject.take_examples(SHOWN, material._split)
    found = material.name_predictions(examples.names, material.predict(examples))
    return draw_predictions(
        material.subject.to_rgb(examples.records),
        found,
        truths=material.name_labels(examples.labels),
        title=f"{title} ({examples.source})",
    )


def _draw_mistakes(material: Material, title: str) -> Figure:
    outputs, subject = material.outputs, material.subject
    wrong = find_confident_mistakes(outputs.labels, outputs.probabilities, MISTAKES)
    labels, likely = material.labeled
    if not len(wrong):
        raise MissingDataError(f"there is no mistake among the {len(labels):,} images")
    errors = int((likely.argmax(1) != labels).sum())
    images = subject.require_pack().splits[material.split]
    indices = outputs.indices[wrong]
    names = [images.name(int(i)) for i in indices]
    return draw_predictions(
        subject.to_rgb(images.gather(indices)),
        material.name_predictions(names, outputs.probabilities[wrong]),
        truths=material.name_labels(outputs.labels[wrong]),
        title=f"{title} ({len(wrong)} of {errors:,}, {material.split})",
    )


def _draw_neighbors(material: Material, title: str) -> Figure:
    from alexnet.explaining.outputs import compute_outputs
    from alexnet.explaining.projection import find_nearest
    from alexnet.packs.samples import space_evenly

    subject, searched = material.subject, material.searched
    splits = subject.require_pack().splits
    if material.split == "train":
        raise MissingDataError("there are no images apart from the training images to start from")
    chosen = space_evenly(QUERIES, len(splits[material.split]))
    queries = compute_outputs(subject, material.split, chosen)
    nearest, distances = find_nearest(queries.features, searched.features, NEIGHBORS)
    whole = len(splits["train"])
    among = f"all {whole:,}" if len(searched.indices) == whole else f"{len(searched.indices):,}"
    return draw_neighbors(
        subject.to_rgb(splits[material.split].gather(chosen)),
        [subject.to_rgb(splits["train"].gather(searched.indices[row])) for row in nearest],
        query_labels=material.name_labels(queries.labels),
        neighbor_labels=[
            material.name_labels(searched.labels[row]) or [None] * len(row) for row in nearest
        ],
        distances=distances.tolist(),
        title=f"{title} ({searched.layer}, among {among})",
    )


def _draw_confusion(material: Material, title: str) -> Figure:
    heading = f"{title} ({material.confusion.sum():,} {material.split} images)"
    return classes.draw_confusion(material.confusion, material.subject.classes, title=heading)


def _draw_class_scores(material: Material, title: str) -> Figure:
    labels, likely = material.labeled
    n = likely.shape[1]
    wrong5 = None
    if n > 5:
        five = np.argsort(-likely, axis=1, kind="stable")[:, :5]
        missed = (five != labels[:, None]).all(1)
        wrong5 = np.bincount(labels[missed], minlength=n)
    scores = score_classes(material.confusion, wrong5)
    heading = f"{title} ({len(labels):,} {material.split} images)"
    return classes.draw_class_scores(scores, material.subject.classes, title=heading)


def _draw_augmentation(material: Material, title: str) -> Figure:
    from alexnet.explaining.augmented import augment_in_epochs, crop_all_views

    subject, recipe = material.subject, material.subject.trained.recipe
    record = subject.take_examples(3, material._split).records[-1]
    return augmentation.draw_augmented(
        subject.to_rgb(record[None])[0],
        augment_in_epochs(record, subject.preprocessing, recipe),
        crop_all_views(record, subject.preprocessing, 10 if recipe.flip else 5),
        crop=subject.preprocessing.crop,
        title=title,
    )


def _draw_heat_maps(material: Material, title: str) -> Figure:
    import torch

    from alexnet.batches.views import crop_views
    from alexnet.explaining.heat_maps import compute_grad_cam, compute_occlusion

    subject = material.subject
    examples = subject.take_examples(EXPLAINED, material._split)
    likely = material.predict(examples)
    labels = likely.argmax(1)
    inputs = crop_views(examples.records, subject.preprocessing, 1)
    on_device = torch.from_numpy(labels).to(inputs.device)
    occlusion = []
    for k, (image, label) in enumerate(zip(inputs, labels, strict=True)):
        occlusion.append(compute_occlusion(subject.network, image, int(label)))
        if material._progress is not None:
            material._progress("covered", k + 1, len(labels))
    return heat_maps.draw_heat_maps(
        subject.crop_center(subject.to_rgb(examples.records)),
        [subject.classes[i] for i in labels],
        compute_grad_cam(subject.network, inputs, on_device),
        occlusion,
        probabilities=likely.max(1).tolist(),
        truths=material.name_labels(examples.labels),
        title=f"{title} ({examples.source})",
    )


def _draw_feature_map(material: Material, title: str) -> Figure:
    from alexnet.explaining.projection import project_features
    from alexnet.packs.samples import space_evenly

    outputs = material.outputs
    known = np.flatnonzero(outputs.labels >= 0)
    if len(known) < 2:
        raise MissingDataError(f"the {material.split} images have no labels of the network")
    chosen = known[space_evenly(MOST_MAPPED, len(known))]
    if not outputs.features.shape[1]:
        outputs = material._compute(material.split, outputs.indices[chosen], True)
        chosen = np.arange(len(chosen))
    return feature_map.draw_feature_map(
        project_features(outputs.features[chosen]),
        outputs.labels[chosen],
        material.subject.classes,
        title=f"{title} ({outputs.layer}, {len(chosen):,} {material.split} images)",
    )


@dataclass(frozen=True)
class FigureKind:
    """How one figure is drawn, and what it shows."""

    draw: Callable[[Material, str], Figure]
    title: str
    explanation: str


FIGURES: dict[str, FigureKind] = {
    "predictions": FigureKind(
        _draw_predictions,
        "Five most probable labels",
        "Images with the five labels that the network finds most probable, as in Figure 4 (left) "
        "of the paper. The bar of the right label is green and has a check mark; a cross before "
        "the title says that another label came first.",
    ),
    "mistakes": FigureKind(
        _draw_mistakes,
        "Most confident mistakes",
        "The images whose wrong first label has the highest probability. Look here for wrong "
        "labels in the data, too.",
    ),
    "curves": FigureKind(
        _draw_curves,
        "Training",
        "Loss on training and validation images, top-1 and top-5 error on validation images, and "
        "learning rate, over epochs.",
    ),
    "classes": FigureKind(
        _draw_class_scores,
        "Class by class",
        "For each class, worst first: the shares of its images that are wrong by the first label "
        "and by the first five; and precision, recall and F1.",
    ),
    "confusion": FigureKind(
        _draw_confusion,
        "Confusion matrix",
        "How many images of the class of each row were taken for the class of each column; the "
        "diagonal is right. With many classes, blocks of them and the most confused pairs.",
    ),
    "heat-maps": FigureKind(
        _draw_heat_maps,
        "What decided",
        "Where the evidence for the first label is: by gradients in the last convolutional layer "
        "(Grad-CAM), and by how much probability is lost when a place is covered (occlusion).",
    ),
    "neighbors": FigureKind(
        _draw_neighbors,
        "Nearest training images",
        "Images and the six training images whose features have the smallest Euclidean distance, "
        "as in Figure 4 (right) of the paper. The number is the distance.",
    ),
    "features": FigureKind(
        _draw_feature_map,
        "Features in a plane",
        "Each point is an image; images with similar outputs of the last hidden layer are close. "
        "In t-SNE only small distances mean something.",
    ),
    "kernels": FigureKind(
        _draw_kernels,
        "First-layer kernels",
        "The kernels of the first convolutional layer, one block for each tower, as in Figure 3 of "
        "the paper. Each has its own contrast; gray is zero.",
    ),
    "augmentation": FigureKind(
        _draw_augmentation,
        "Augmentation of one image",
        "An image as packed, as the training saw it in its first ten epochs, and the views over "
        "which evaluation can average.",
    ),
}
"""Every figure by its name, in the order in which they are drawn."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of figures to draw, all if none is given.

    Raises ValueError for a name that no figure has.
    """
    if unknown := [name for name in names if name not in FIGURES]:
        raise ValueError(f"no figure is called {unknown[0]!r}; there are {', '.join(FIGURES)}")
    return tuple(name for name in FIGURES if name in names) if names else tuple(FIGURES)


def iterate_figures(
    run: str | Path,
    pack: str | Path | None = None,
    *,
    only: Sequence[str] = (),
    split: str | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[DrawnFigure]:
    """Draw the figures of a run one after the other; nothing is written.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`), or a checkpoint file.
        pack: a pack, or images, which are packed first, next to the run. By default the pack that
            the run was trained on; without it, figures are drawn from the images that the run
            keeps, as far as they suffice.
        only: names in `FIGURES`; by default all.
        split: which images of the pack to show and measure; by default val, or else the first
            split that has images.
        device: auto, cpu, cuda, or cuda:1 for the second GPU.
        progress: called with what is under way, how many images are done, and of how many.

    A figure whose data is missing or damaged has a reason instead (`skipped`). Raises ValueError
    for an unknown name, and FileNotFoundError if `run` is no run or `pack` does not exist.
    """
    names, material = (
        check_names(only),
        Material(run, pack, split=split, device=device, progress=progress),
    )
    if pack is not None or not (material.folder / "log.jsonl").is_file():
        _ = material.subject  # raises for what the user named and is not there
    return (_draw(material, name) for name in names)


def _draw(material: Material, name: str) -> DrawnFigure:
    kind = FIGURES[name]
    try:
        figure = kind.draw(material, kind.title)
    except (MissingDataError, OSError, ValueError) as error:
        return DrawnFigure(name, kind.title, kind.explanation, skipped=str(error))
    return DrawnFigure(name, kind.title, kind.explanation, figure)


def draw_figures(
    run: str | Path,
    folder: str | Path | None = None,
    *,
    format: Format = "png",
    on_drawn: Callable[[DrawnFigure], Any] | None = None,
    **options: Any,
) -> list[DrawnFigure]:
    """Draw the figures of a run into files, named after the figures.

    Args:
        run: a run's folder, or a checkpoint file.
        folder: where to; made if missing. By default `figures` in the folder of the run.
        format: png or svg.
        on_drawn: called with each figure when its file is written or it is skipped.
        options: `pack`, `only`, `split`, `device`, `progress`: see `iterate_figures`.

    Returns all of them, those that were skipped with the reason. Raises what `iterate_figures`
    raises, and OSError if a file cannot be written.
    """
    if format not in ("png", "svg"):
        raise ValueError(f"figures are written as png or svg, not as {format!r}")
    found = []
    figures = iterate_figures(run, **options)
    into = Path(folder) if folder is not None else Material(run).folder / "figures"
    for drawn in figures:
        if drawn.figure is not None:
            path = into / f"{drawn.name}.{format}"
            into.mkdir(parents=True, exist_ok=True)
            save_figure(drawn.figure, path)
            drawn = DrawnFigure(drawn.name, drawn.title, drawn.explanation, drawn.figure, path=path)
        if on_drawn is not None:
            on_drawn(drawn)
        found.append(drawn)
    return found
