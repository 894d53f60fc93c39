"""Every figure, drawn from made-up data with the names that are hardest to show."""

import numpy as np

from alexnet.evaluation.confusion import count_confusions, score_classes
from alexnet.predict import Prediction
from alexnet.show.augmentation import draw_augmented
from alexnet.show.classes import draw_class_scores, draw_confusion
from alexnet.show.curves import TrainingLog, draw_curves, draw_training_errors
from alexnet.show.feature_map import draw_feature_map
from alexnet.show.heat_maps import draw_heat_maps
from alexnet.show.kernels import draw_kernels
from alexnet.show.neighbors import draw_neighbors
from alexnet.show.predictions import draw_predictions

HARD = (
    "W" * 60,
    "$\\frac{1}{0}$ and _underscore",
    "中文名字的类别",
    "\x1b[2J\u202egnirts",
    "<script>alert(1)</script>",
    "tench, Tinca tinca",
    "é" * 30,
    "\udcff\udcfe.jpg",
    "🦆 duck",
    "_",
)
"""Names of classes and files that come from others."""


def name_classes(n):
    """Return n different names, the hard ones first."""
    return [*HARD, *(f"class number {k} of many" for k in range(n))][:n]


def make_images(n, side=64):
    """Make n images of noise: uint8 (n, side, side, 3)."""
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def make_confusion(n, images=4000):
    """Make a confusion matrix of n classes in which two thirds of the images are right."""
    chance = np.random.default_rng(1)
    labels = chance.integers(0, n, images)
    predicted = np.where(chance.random(images) < 0.67, labels, chance.integers(0, n, images))
    return count_confusions(labels, predicted, n)


def predict(n, labels=5):
    """Make n predictions of hard names."""
    shares = (0.9999, 0.00001, 0.00004, 0.03, 0.02)[:labels]
    return [
        Prediction(HARD[k % 10], tuple(HARD[(k + j) % 10] for j in range(labels)), shares)
        for k in range(n)
    ]


def make_log(epochs):
    """Make the log of a training of so many epochs."""
    x = [float(k + 1) for k in range(epochs)]
    falling = [(k, 3 / k) for k in x]
    errors = [(k, 1 / k) for k in x]
    steps = [(k / 10, 4 / (1 + k / 10)) for k in range(1, 10 * epochs + 5)]
    rates = [(k, 10.0 ** -(1 + 4 * k / (epochs + 1))) for k, _ in steps]
    names = {"train_loss": falling, "val_loss": falling, "val_top1": errors, "val_top5": errors}
    return TrainingLog(steps, rates, names)


def _neighbors(rows, columns, **options):
    return draw_neighbors(
        make_images(rows),
        [make_images(columns)] * rows,
        query_labels=name_classes(rows),
        neighbor_labels=[name_classes(columns)] * rows,
        distances=[[0.0, 1e-7, 123.456, 98765.4, 1e9, 1.5][:columns]] * rows,
        **options,
    )


def _heat_maps(n):
    maps = np.random.default_rng(2).random((n, 6, 6))
    return draw_heat_maps(
        make_images(n),
        name_classes(n),
        maps,
        maps - 0.5,
        probabilities=[0.5] * n,
        truths=name_classes(n)[::-1],
        title="What decided",
    )


def _feature_map(images, classes):
    chance = np.random.default_rng(3)
    points = chance.normal(size=(images, 2)).astype(np.float32)
    labels = chance.integers(0, classes, images)
    names = name_classes(classes)
    return draw_feature_map({"PCA": points, "t-SNE": points}, labels, names, title="Features")


def _classes(n):
    confusion = make_confusion(n)
    scores = score_classes(confusion, confusion.sum(1) // 10)
    return draw_class_scores(scores, name_classes(n), title="Class by class")


def _augmented(views, side=32):
    images = make_images(10, side - 4)
    return draw_augmented(make_images(1, side)[0], images, images[:views], crop=side - 4, title="A")


DRAWINGS = {
    "predictions-1": lambda: draw_predictions(make_images(1), predict(1)),
    "predictions-1-right": lambda: draw_predictions(
        make_images(1, 300), predict(1), truths=[HARD[0]], title="W" * 90
    ),
    "predictions-2-labels": lambda: draw_predictions(
        make_images(3), predict(3, 2), truths=HARD[:3]
    ),
    "predictions-24": lambda: draw_predictions(
        make_images(24), predict(24), truths=[*HARD, *HARD, *HARD][1:25], total=1234, title="T"
    ),
    "predictions-6-columns": lambda: draw_predictions(make_images(18), predict(18), columns=6),
    "neighbors": lambda: _neighbors(5, 6, title="Nearest"),
    "neighbors-1": lambda: _neighbors(1, 1),
    "neighbors-plain": lambda: draw_neighbors(make_images(1), [make_images(6)], title="Nearest"),
    "kernels-towers": lambda: draw_kernels(
        np.random.default_rng(4).normal(size=(96, 3, 11, 11)), 2, title="Kernels"
    ),
    "kernels-gray": lambda: draw_kernels(np.zeros((6, 1, 5, 5))),
    "curves-1": lambda: draw_curves(make_log(1)),
    "curves-90": lambda: draw_curves(make_log(90), title="Training"),
    "curves-begun": lambda: draw_curves(TrainingLog(step_loss=[(0.1, 2.0)], rate=[(0.1, 0.0)])),
    "training-errors": lambda: draw_training_errors(
        {"ReLU": [[0.5, 0.2], [0.6, 0.3]], "$tanh": [[0.7, 0.6, 0.5]]},
        finish=0.25,
        start=0.9,
        title="CIFAR-10 " + HARD[3],
    ),
    "confusion-2": lambda: draw_confusion(make_confusion(2), name_classes(2), title="Confusion"),
    "confusion-10": lambda: draw_confusion(make_confusion(10), name_classes(10), title="Confusion"),
    "confusion-40": lambda: draw_confusion(make_confusion(40), name_classes(40), title="Confusion"),
    "confusion-1000": lambda: draw_confusion(
        make_confusion(1000), name_classes(1000), title="Confusion"
    ),
    "classes-2": lambda: _classes(2),
    "classes-40": lambda: _classes(40),
    "classes-1000": lambda: _classes(1000),
    "augmentation-5": lambda: _augmented(5),
    "augmentation-10": lambda: _augmented(10, 256),
    "heat-maps-1": lambda: _heat_maps(1),
    "heat-maps-5": lambda: _heat_maps(5),
    "features-2": lambda: _feature_map(5, 2),
    "features-20": lambda: _feature_map(400, 20),
    "features-1000": lambda: _feature_map(3000, 1000),
}
"""Functions that draw a figure, by the name of the case."""
