"""Several networks as one."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from tests.conftest import TRAINED as RECIPE
from tests.conftest import pictures
from tests.mutations import damaged

from alexnet.evaluation.ensemble import Predictions, average, predict, read, search
from alexnet.evaluation.scores import Member, measure
from alexnet.packing.pack import pack
from alexnet.sources.entry import Entry
from alexnet.training.train import train


def made(probabilities, labels=None, classes="abcdefgh", name="x"):
    """Predictions of so many classes, as they would be written by a network called `name`."""
    probabilities = np.array(probabilities, np.float32)
    n, c = probabilities.shape
    return Predictions(
        members=(Member(name, "0" * 64),),
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
    """A second run, less good."""
    recipe = dataclasses.replace(RECIPE, seed=8, epochs=1)
    return train(tiny_pack, tmp_path_factory.mktemp("runs") / "other", recipe, device="cpu").run


@pytest.mark.parametrize("views", [1, 10])
def test_predictions_have_the_errors_that_measuring_counts(run, views):
    mine, theirs = predict(run, views=views, device="cpu").scores(), measure(run, views=views)
    one, two = mine.to_dict(), theirs.to_dict()
    assert one.pop("loss") == pytest.approx(two.pop("loss"))
    assert one == two


def test_an_average_of_a_network_with_itself_is_that_network(run):
    one = predict(run, device="cpu")
    both = average([one, one])
    assert both.probabilities == pytest.approx(one.probabilities, abs=1e-7)
    assert [member.weight for member in both.members] == [0.5, 0.5]


def test_two_networks_are_scored_together_and_both_are_named(run, other):
    some = [predict(path, views=10, device="cpu") for path in (run, other)]
    scores = average(some, [3, 1]).scores()
    weights = [row["weight"] for row in scores.to_dict()["checkpoints"]]
    assert weights == [0.75, 0.25]
    assert "2 networks averaged" in scores.text()
    assert scores.counts.seen == 60


def test_written_predictions_are_read_again_as_they_were(run, tmp_path):
    one = predict(run, device="cpu")
    one.write(tmp_path / "one.npz")
    again = read(tmp_path / "one.npz")
    for name, value in vars(one).items():
        assert np.array_equal(getattr(again, name), value), name
    assert again.scores().to_dict() == one.scores().to_dict()


def test_averages_of_averages_keep_every_networks_share():
    one = made([[0.5, 0.5]])
    nested = average([average([one, one], [1, 3]), one], [1, 1])
    assert [member.weight for member in nested.members] == [0.125, 0.375, 0.5]


def test_classes_are_matched_by_name_and_not_by_order():
    turned = made([[0.1, 0.9]], classes="ba")
    straight = made([[0.9, 0.1]], classes="ab")
    assert average([straight, turned]).probabilities == pytest.approx(straight.probabilities)


def test_search_finds_the_network_that_is_right_and_never_does_worse_than_equal_weights():
    right, wrong = [[0.6, 0.4], [0.4, 0.6]], [[0.1, 0.9], [0.9, 0.1]]
    some = [made(wrong, [0, 1]), made(right, [0, 1])]
    weights = search(some)
    assert weights[0] < weights[1]
    assert average(some, weights).scores().counts.wrong1 == 0
    chance = np.random.default_rng(0)
    many = [made(chance.dirichlet(np.ones(8), 50), chance.integers(0, 8, 50)) for _ in range(3)]
    found, equal = (average(many, w).scores().counts for w in (search(many), ()))
    assert found.wrong5 <= equal.wrong5


def test_search_keeps_equal_weights_where_nothing_is_better():
    assert search([made([[0.9, 0.1]]), made([[0.8, 0.2]])]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made([[0.5, 0.5], [0.5, 0.5]], name="y"), r"predictions of y \(2 images .* of the images"),
        (made([[0.5, 0.5]], classes="az"), "know other classes"),
        (dataclasses.replace(made([[0.5, 0.5]]), views=10), "10 views"),
    ],
)
def test_predictions_of_something_else_are_not_averaged(other, message):
    with pytest.raises(ValueError, match=message):
        average([made([[0.5, 0.5]]), other])


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="2 networks need as many weights"):
        average([made([[0.5, 0.5]])] * 2, weights)


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing"])
def test_a_file_that_holds_no_predictions_says_how_they_are_made(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no predictions .*--dump"):
        read(tmp_path / "x.npz")


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        read(tmp_path / "folder.npz")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.npz")


def test_images_without_labels_are_predicted_but_not_scored(run, tmp_path):
    source = pictures(train=1, val=3)

    def stream(split):
        for entry in source.stream(split):
            yield entry if split == "train" else Entry(split, entry.name, -1, entry.content)

    bare = pack(dataclasses.replace(source, stream=stream), tmp_path / "bare.pack", processes=1)
    found = predict(run, bare.path, device="cpu")
    assert found.probabilities.shape == (9, 3)
    assert not found.labeled
    with pytest.raises(ValueError, match="--submission FILE"):
        found.scores()
    with pytest.raises(ValueError, match=r"9 val images .*--submission FILE"):
        measure(run, bare.path, device="cpu")
    with pytest.raises(ValueError, match="found on labeled images"):
        search([found, found])


def test_images_of_unknown_classes_are_left_out_and_counted(run, tmp_path):
    strange = pack(
        pictures(train=1, val=5, classes=("rings", "stripes", "zigzag")),
        tmp_path / "x.pack",
        processes=1,
    )
    found = predict(run, strange.path, device="cpu", ignore_unknown=True)
    assert (len(found.labels), found.left_out) == (10, 5)
    assert found.labeled


def _dump(tmp_path, **changes):
    """A small file of predictions, with other arrays or facts in it."""
    likely = np.full((4, 2), 0.5, np.float32)
    arrays = {"names": np.array(list("abcd")), "labels": np.arange(4) % 2, "probabilities": likely}
    facts = {
        "members": [{"checkpoint": "x", "sha256": "0", "weight": 1.0}],
        "pack": "p",
        "pack_checksum": "0",
        "split": "val",
        "views": 1,
        "left_out": 0,
        "classes": ["u", "v"],
        "wordnet_ids": None,
    }
    arrays |= {k: v for k, v in changes.items() if k in arrays}
    facts |= {k: v for k, v in changes.items() if k not in arrays}
    path = tmp_path / "dump.npz"
    np.savez(path, about=np.array(json.dumps(facts)), **arrays)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.full((4, 2), np.nan, np.float32)}, "not between 0 and 1"),
        ({"probabilities": np.float32([[1.5, -0.5]] * 4)}, "not between 0 and 1"),
        ({"probabilities": np.full((4, 2), 0.4, np.float32)}, "do not add up to 1"),
        ({"probabilities": np.full((4, 2), 0.5)}, "probabilities are float64"),
        (
            {"probabilities": np.full((3, 2), 0.5, np.float32)},
            r"probabilities are float32 \(3, 2\)",
        ),
        ({"labels": np.array([0, 1, 2, 0])}, "labels from 0 to 2, of no class"),
        ({"labels": np.zeros(4)}, "labels are float64"),
        ({"names": np.array(["a", "a", "b", "c"])}, "not one text per image"),
        ({"names": np.array([1, 2, 3, 0x110000], np.uint32).view("<U1")}, "that there are not"),
        ({"classes": ["u", "u"]}, "2 classes have 1 names"),
        ({"wordnet_ids": ["n1"]}, "1 WordNet ids for 2 classes"),
        ({"views": True}, "about.views is true, not a whole number"),
        ({"members": 3}, "about.members is 3, not a list"),
    ],
)
def test_predictions_that_cannot_be_are_refused(tmp_path, changes, message):
    assert len(read(_dump(tmp_path)).names) == 4
    with pytest.raises(ValueError, match=message):
        read(_dump(tmp_path, **changes))


def test_damaged_predictions_are_refused_plainly(tmp_path):
    path = _dump(tmp_path)
    for content in damaged(path.read_bytes(), 1500):
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            read(path)


def test_an_array_that_claims_more_than_the_file_has_takes_no_memory(tmp_path):
    path = _dump(tmp_path)
    content = path.read_bytes().replace(b"'shape': (4, 2)", b"'shape': (4<<40,)"[:15].ljust(15))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no predictions"):
        read(path)
