"""Scores of a run, on its own pack and on another."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import torch
from tests.conftest import pictures

from alexnet.evaluation.counts import Counts
from alexnet.evaluation.ensemble import predict_split
from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.evaluation.stored_scores import read_scores
from alexnet.packing.pack import pack


def test_scores_are_those_of_the_last_validation(run, tiny_pack):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    best = min((x for x in lines if x["event"] == "epoch"), key=lambda x: x["val_top1"])
    scores = evaluate_run(run, device="cpu")
    assert (scores.counts.seen, scores.counts.wrong1) == (60, best["wrong1"])
    assert scores.pack_checksum == tiny_pack.checksum


def test_ten_views_count_each_image_once(run):
    scores = evaluate_run(run, views=10, device="cpu", batch_size=7)
    assert scores.counts.seen == 60
    assert scores.counts.top1 < 0.4


def test_scores_are_written_and_say_what_was_measured(run, tmp_path):
    scores = evaluate_run(run, split="train", device="cpu")
    write_scores(scores, tmp_path / "scores.json")
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["seen"], found["split"], found["views"]) == (150, "train", 1)
    assert sum(row["seen"] for row in found["per_class"].values()) == 150
    assert len(found["checkpoint"]["sha256"]) == 64
    assert "rings" in scores.text(per_class=True)


def test_classes_are_matched_by_name_and_not_by_order(run, tmp_path):
    other = pictures(train=1, val=20, classes=("spots", "rings", "stripes"))
    shuffled = pack(other, tmp_path / "other.pack", processes=1)
    turned = evaluate_run(run, shuffled.path, device="cpu").counts
    straight = evaluate_run(run, device="cpu").counts
    assert turned.wrong1 >= straight.seen - straight.wrong1 - 5


def test_unknown_classes_are_refused_or_left_out(run, tmp_path):
    other = pictures(train=1, val=20, classes=("rings", "stripes", "zigzag"))
    strange = pack(other, tmp_path / "other.pack", processes=1)
    with pytest.raises(ValueError, match=r"zigzag.*--ignore-unknown"):
        evaluate_run(run, strange.path, device="cpu")
    scores = evaluate_run(run, strange.path, device="cpu", ignore_unknown=True)
    assert (scores.counts.seen, scores.left_out) == (40, 20)


def test_a_pack_of_another_size_is_refused(run, tmp_path):
    larger = pack(pictures(train=1, val=1, side=40), tmp_path / "larger.pack", processes=1)
    with pytest.raises(ValueError, match="Pack them again with --size 32"):
        evaluate_run(run, larger.path, device="cpu")


def test_the_error_for_a_missing_split_names_the_splits(run):
    with pytest.raises(ValueError, match="no test images; it has train, val"):
        evaluate_run(run, split="test", device="cpu")


def test_every_measurement_has_a_file_of_its_own(run, tiny_pack, tmp_path):
    def name(**options):
        return choose_scores_path(evaluate_run(run, device="cpu", **options)).name

    again = pack(pictures(train=1, val=1), tmp_path / "my pack", processes=1)
    names = [name(), name(views=10), name(split="train"), name(pack=again.path)]
    other = f"scores-my_pack-{again.checksum[:8]}-val.json"
    assert names == ["scores.json", "scores-val-10-views.json", "scores-train.json", other]
    last = choose_scores_path(evaluate_run(run / "last.safetensors", device="cpu"))
    assert last == run / "scores-last.json"


def test_a_run_of_an_earlier_version_with_a_relative_path_still_finds_its_pack(
    run, tiny_pack, tmp_path
):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    pack = {"path": os.path.relpath(tiny_pack.path), "checksum": tiny_pack.checksum}
    (copy / "environment.json").write_text(json.dumps({"pack": pack}))
    assert evaluate_run(copy, device="cpu").pack_checksum == tiny_pack.checksum
    for broken in ("", "[]", '{"pack": 7}', '{"pack": {"path": ["x"]}}'):
        (copy / "environment.json").write_text(broken)
        with pytest.raises(FileNotFoundError, match=r"does not say what .* was trained on"):
            evaluate_run(copy, device="cpu")


def test_precision_recall_f1_and_balanced_accuracy_are_those_of_scikit_learn(run):
    from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

    chance = np.random.default_rng(0)
    found = predict_split(run, device="cpu")
    likely = found.probabilities + chance.normal(0, 0.5, found.probabilities.shape)
    noisy = dataclasses.replace(found, probabilities=np.float32(likely))
    labels, predicted = found.labels, likely.argmax(1)
    scores = noisy.scores().to_dict()
    assert 0 < scores["wrong1"] < scores["seen"]
    expected = np.array(precision_recall_fscore_support(labels, predicted)[:3]).T
    rows = [list(row.values()) for row in scores["class_scores"].values()]
    assert np.array(rows) == pytest.approx(expected)
    assert list(scores["class_scores"]["rings"]) == ["precision", "recall", "f1"]
    wanted = balanced_accuracy_score(labels, predicted)
    assert scores["balanced_accuracy"] == pytest.approx(wanted)
    assert sum(x["images"] for x in scores["mistakes"]) == scores["wrong1"]
    assert list(scores["mistakes"][0]) == ["class", "predicted", "images"]
    text = noisy.scores().text(per_class=True)
    assert all(word in text for word in ("precision", "recall", "F1", "balanced accuracy", " → "))


def test_uneven_classes_are_said_and_undefined_scores_are_null(run, tmp_path):
    scores = evaluate_run(run, device="cpu")
    assert "uneven" not in scores.text()
    counts = Counts(3)
    labels = torch.tensor([0] * 9 + [1] * 3)
    counts.add(torch.eye(3)[[0] * 12], labels)
    uneven = dataclasses.replace(scores, counts=counts)
    assert "uneven: 3 to 9 images" in uneven.text()
    assert "balanced accuracy 50.00%" in uneven.text()
    found = uneven.to_dict()
    assert list(found["class_scores"].values()) == [
        {"precision": 0.75, "recall": 1.0, "f1": pytest.approx(6 / 7)},
        {"precision": None, "recall": 0.0, "f1": 0.0},
        {"precision": None, "recall": None, "f1": None},
    ]
    write_scores(uneven, tmp_path / "scores.json")
    assert read_scores(tmp_path / "scores.json").seen == 12
    assert "NaN" not in (tmp_path / "scores.json").read_text()


@pytest.mark.parametrize("measure", [evaluate_run, predict_split])
def test_a_damaged_pack_is_noticed_by_its_checksum(run, tiny_pack, tmp_path, measure):
    copy = shutil.copytree(tiny_pack.path, tmp_path / "copy")
    shard = next((copy / "val").glob("images-*.npy"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"images-00000\.npy is damaged: its checksum is"):
        measure(run, copy, device="cpu")
    measure(run, copy, device="cpu", split="train")
