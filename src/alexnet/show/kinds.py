"""How each figure of a run is drawn: `FIGURES`, every figure by its name.

A function here asks a `Material` for what its figure needs, hands it to a drawing function of
`show`, and returns the figure. `figures` calls these functions and handles what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alexnet.evaluation.confusion import find_confident_mistakes, score_classes
from alexnet.show import augmentation, classes, curves, feature_map, heat_maps, kernels
from alexnet.show.material import Material, MissingDataError
from alexnet.show.neighbors import draw_neighbors
from alexnet.show.predictions import draw_predictions
from alexnet.terminal import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, MISTAKES, EXPLAINED, QUERIES, NEIGHBORS = 12, 12, 6, 5, 6
"""Images in the figures of predictions, of mistakes, of heat maps; queries and their neighbors."""
MOST_MAPPED = 2000
"""Images in the map of features: more points hide each other."""


def _draw_kernels(material: Material, title: str) -> Figure:
    from alexnet.explaining.kernels import read_first_kernels

    return kernels.draw_kernels(*read_first_kernels(material.subject.trained.weights), title=title)


def _draw_curves(material: Material, title: str) -> Figure:
    path = material.folder / "log.jsonl"
    if not path.is_file():
        raise MissingDataError(f"there is no {path}")
    return curves.draw_curves(curves.read_log(path), title=title)


def _draw_predictions(material: Material, title: str) -> Figure:
    examples = material.subject.take_examples(SHOWN, material.wanted_split)
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
        raise MissingDataError(
            f"there is no mistake among the {format_count(len(labels), 'image')}"
        )
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
    from alexnet.packs.samples import space_evenly
    from alexnet.search.exact import ExactSearch

    subject, searched = material.subject, material.searched
    splits = subject.require_pack().splits
    if material.split == "train":
        raise MissingDataError("there are no images apart from the training images to start from")
    chosen = space_evenly(QUERIES, len(splits[material.split]))
    queries = compute_outputs(subject, material.split, chosen)
    nearest = ExactSearch([searched.features]).search(queries.features, NEIGHBORS)
    rows = nearest.indices
    whole = len(splits["train"])
    among = f"all {whole:,}" if len(searched.indices) == whole else f"{len(searched.indices):,}"
    return draw_neighbors(
        subject.to_rgb(splits[material.split].gather(chosen)),
        [subject.to_rgb(splits["train"].gather(searched.indices[row])) for row in rows],
        query_labels=material.name_labels(queries.labels),
        neighbor_labels=[
            material.name_labels(searched.labels[row]) or [None] * len(row) for row in rows
        ],
        distances=nearest.distances.tolist(),
        title=f"{title} ({searched.layer}, among {among})",
    )


def _draw_confusion(material: Material, title: str) -> Figure:
    heading = f"{title} ({format_count(material.confusion.sum(), f'{material.split} image')})"
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
    heading = f"{title} ({format_count(len(labels), f'{material.split} image')})"
    return classes.draw_class_scores(scores, material.subject.classes, title=heading)


def _draw_augmentation(material: Material, title: str) -> Figure:
    from alexnet.explaining.augmented import augment_in_epochs, crop_all_views

    subject, recipe = material.subject, material.subject.trained.recipe
    records = subject.take_examples(3, material.wanted_split).records
    record = records[len(records) // 2]
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
    examples = subject.take_examples(EXPLAINED, material.wanted_split)
    likely = material.predict(examples)
    labels = likely.argmax(1)
    inputs = crop_views(examples.records, subject.preprocessing, 1)
    on_device = torch.from_numpy(labels).to(inputs.device)
    occlusion = []
    for k, (image, label) in enumerate(zip(inputs, labels, strict=True)):
        occlusion.append(compute_occlusion(subject.network, image, int(label)))
        if material.progress is not None:
            material.progress("covered", k + 1, len(labels))
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
        outputs = material.compute(material.split, outputs.indices[chosen], True)
        chosen = np.arange(len(chosen))
    return feature_map.draw_feature_map(
        project_features(outputs.features[chosen]),
        outputs.labels[chosen],
        material.subject.classes,
        title=f"{title} ({outputs.layer}, {format_count(len(chosen), f'{material.split} image')})",
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
        "Most probable labels",
        "Images with the labels, at most five, that the network finds most probable, as in Figure "
        "4 (left) of the paper. The bar of the right label is green and has a check mark; a cross "
        "before the title says that another label came first.",
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
        "and, of more than five classes, by the first five; and precision, recall and F1.",
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
