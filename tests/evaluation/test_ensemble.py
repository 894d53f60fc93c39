"""Probabilities of several networks, averaged and weighted."""

import dataclasses

import numpy as np
import pytest
from tests.conftest import TRAINED as RECIPE
from tests.conftest import pictures

from alexnet.evaluation.ensemble import average_predictions, predict_split, search_weights
from alexnet.evaluation.predictions import SplitPredictions
from alexnet.evaluation.scores import WeightedCheckpoint, evaluate_run
from alexnet.packing.pack import pack
from alexnet.sources.entry import Entry
from alexnet.training.train import train


def make_predictions(probabilities, labels=None, classes="abcdefgh", name="x"):
    """Make the predictions of a network called `name`."""
    probabilities = np.array(probabilities, np.float32)
    n, c = probabilities.shape
    return SplitPredictions(
        members=(WeightedCheckpoint(name, "0" * 64),),
        pack="p",
        pack_checksum="c",
        split="val",
        views=1,
        classes=tuple(classes[:c]),
        wordnet_ids=None,
        left_out=0,
        names=np.array([f"val/{i}" for i in range(n)]),
        labels=np.array(labels if labels is not None else [0] * n),
        probabilities=probabilities,
    )


@pytest.fixture(scope="module")
def other(tiny_pack, tmp_path_factory):
    """A second run, with more errors."""
    recipe = dataclasses.replace(RECIPE, seed=8, epochs=1)
    return train(tiny_pack, tmp_path_factory.mktemp("runs") / "other", recipe, device="cpu").run


@pytest.mark.parametrize("views", [1, 10])
def test_predictions_have_the_errors_that_evaluation_counts(run, views):
    predicted, evaluated = (
        predict_split(run, views=views, device="cpu").scores(),
        evaluate_run(run, views=views),
    )
    one, two = predicted.to_dict(), evaluated.to_dict()
    assert one.pop("loss") == pytest.approx(two.pop("loss"))
    assert one == two


def test_an_average_of_a_network_with_itself_is_that_network(run):
    one = predict_split(run, device="cpu")
    both = average_predictions([one, one])
    assert both.probabilities == pytest.approx(one.probabilities, abs=1e-7)
    assert [member.weight for member in both.members] == [0.5, 0.5]


def test_two_networks_are_scored_together_and_both_are_named(run, other):
    predictions = [predict_split(path, views=10, device="cpu") for path in (run, other)]
    scores = average_predictions(predictions, [3, 1]).scores()
    weights = [row["weight"] for row in scores.to_dict()["checkpoints"]]
    assert weights == [0.75, 0.25]
    assert "2 networks averaged" in scores.text()
    assert scores.counts.seen == 60


def test_averages_of_averages_keep_every_networks_share():
    one = make_predictions([[0.5, 0.5]])
    nested = average_predictions([average_predictions([one, one], [1, 3]), one], [1, 1])
    assert [member.weight for member in nested.members] == [0.125, 0.375, 0.5]


def test_classes_are_matched_by_name_and_not_by_order():
    turned = make_predictions([[0.1, 0.9]], classes="ba")
    straight = make_predictions([[0.9, 0.1]], classes="ab")
    assert average_predictions([straight, turned]).probabilities == pytest.approx(
        straight.probabilities
    )


def test_search_finds_the_network_that_is_right_and_never_does_worse_than_equal_weights():
    right, wrong = [[0.6, 0.4], [0.4, 0.6]], [[0.1, 0.9], [0.9, 0.1]]
    predictions = [make_predictions(wrong, [0, 1]), make_predictions(right, [0, 1])]
    weights = search_weights(predictions)
    assert weights[0] < weights[1]
    assert average_predictions(predictions, weights).scores().counts.wrong1 == 0
    rng = np.random.default_rng(0)
    predictions = [
        make_predictions(rng.dirichlet(np.ones(8), 50), rng.integers(0, 8, 50)) for _ in range(3)
    ]
    found, equal = (
        average_predictions(predictions, w).scores().counts
        for w in (search_weights(predictions), ())
    )
    assert found.wrong5 <= equal.wrong5


def test_search_keeps_equal_weights_where_nothing_is_better():
    assert search_weights([make_predictions([[0.9, 0.1]]), make_predictions([[0.8, 0.2]])]) == (
        1.0,
        1.0,
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            make_predictions([[0.5, 0.5], [0.5, 0.5]], name="y"),
            r"predictions of y \(2 images .* of the images",
        ),
        (make_predictions([[0.5, 0.5]], classes="az"), "trained on different classes"),
        (dataclasses.replace(make_predictions([[0.5, 0.5]]), views=10), "10 views"),
    ],
)
def test_predictions_of_something_else_are_not_averaged(other, message):
    with pytest.raises(ValueError, match=message):
        average_predictions([make_predictions([[0.5, 0.5]]), other])


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="2 networks need as many weights"):
        average_predictions([make_predictions([[0.5, 0.5]])] * 2, weights)


def test_images_without_labels_are_predicted_but_not_scored(run, tmp_path):
    source = pictures(train=1, val=3)

    def stream(split):
        for entry in source.stream(split):
            yield entry if split == "train" else Entry(split, entry.name, -1, entry.content)

    bare = pack(dataclasses.replace(source, stream=stream), tmp_path / "bare.pack", processes=1)
    found = predict_split(run, bare.path, device="cpu")
    assert found.probabilities.shape == (9, 3)
    assert not found.labeled
    with pytest.raises(ValueError, match="--submission FILE"):
        found.scores()
    with pytest.raises(ValueError, match=r"9 val images .*--submission FILE"):
        evaluate_run(run, bare.path, device="cpu")
    with pytest.raises(ValueError, match="needs labeled images"):
        search_weights([found, found])


def test_images_of_unknown_classes_are_left_out_and_counted(run, tmp_path):
    strange = pack(
        pictures(train=1, val=5, classes=("rings", "stripes", "zigzag")),
        tmp_path / "x.pack",
        processes=1,
    )
    found = predict_split(run, strange.path, device="cpu", ignore_unknown=True)
    assert (len(found.labels), found.left_out) == (10, 5)
    assert found.labeled
