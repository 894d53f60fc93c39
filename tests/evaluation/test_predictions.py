"""The file of a network's predictions: written, read, and refused if it is damaged."""

import contextlib
import json

import numpy as np
import pytest
from tests.evaluation.test_ensemble import make_predictions
from tests.mutations import damaged

from alexnet.evaluation.ensemble import predict_split
from alexnet.evaluation.predictions import load_predictions


def test_written_predictions_are_read_again_as_they_were(run, tmp_path):
    one = predict_split(run, device="cpu")
    one.write(tmp_path / "one.npz")
    again = load_predictions(tmp_path / "one.npz")
    for name, value in vars(one).items():
        assert np.array_equal(getattr(again, name), value), name
    assert again.scores().to_dict() == one.scores().to_dict()


def test_ranks_need_labels():
    assert make_predictions([[0.2, 0.5, 0.3]] * 3, [0, 1, 2]).ranks().tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match="have no label to compare with"):
        make_predictions([[0.5, 0.5]], [-1]).ranks()


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing"])
def test_a_file_that_holds_no_predictions_says_how_they_are_made(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no predictions .*--dump"):
        load_predictions(tmp_path / "x.npz")


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        load_predictions(tmp_path / "folder.npz")
    with pytest.raises(FileNotFoundError):
        load_predictions(tmp_path / "none.npz")


def write_dump(tmp_path, **changes):
    """Write a small file of predictions in which `changes` replace arrays or metadata."""
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
        ({"labels": np.array([0, 1, 2, 0])}, "labels are from 0 to 2, but there are 2 classes"),
        ({"labels": np.zeros(4)}, "labels are float64"),
        ({"names": np.array(["a", "a", "b", "c"])}, "not one text per image"),
        (
            {"names": np.array([1, 2, 3, 0x110000], np.uint32).view("<U1")},
            "beyond the range of Unicode",
        ),
        ({"classes": ["u", "u"]}, "2 classes have 1 names"),
        ({"wordnet_ids": ["n1"]}, "1 WordNet ids for 2 classes"),
        ({"views": True}, "about.views is true, not a whole number"),
        ({"members": 3}, "about.members is 3, not a list"),
    ],
)
def test_predictions_that_cannot_be_are_refused(tmp_path, changes, message):
    assert len(load_predictions(write_dump(tmp_path)).names) == 4
    with pytest.raises(ValueError, match=message):
        load_predictions(write_dump(tmp_path, **changes))


def test_damaged_predictions_are_refused_plainly(tmp_path):
    path = write_dump(tmp_path)
    for content in damaged(path.read_bytes(), 1500):
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            load_predictions(path)


def test_an_array_that_claims_more_than_the_file_has_takes_no_memory(tmp_path):
    path = write_dump(tmp_path)
    content = path.read_bytes().replace(b"'shape': (4, 2)", b"'shape': (4<<40,)"[:15].ljust(15))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no predictions"):
        load_predictions(path)
