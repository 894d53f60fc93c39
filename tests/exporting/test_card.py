"""The model card: what it says follows from what was measured and from what is in the pack."""

import dataclasses

import pytest
from tests.conftest import CLASSES

from alexnet import checkpoint as checkpoints
from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.evaluation.stored_scores import read_scores
from alexnet.exporting.card import compute_half_width, write_card


@pytest.fixture(scope="module")
def trained(run):
    return checkpoints.load(run / "best.safetensors")


@pytest.fixture(scope="module")
def scores(run, tmp_path_factory):
    found = evaluate_run(run, device="cpu")
    path = tmp_path_factory.mktemp("scores") / choose_scores_path(found).name
    write_scores(found, path)
    return read_scores(path)


def test_a_card_without_scores_says_that_nothing_was_measured(trained):
    card = write_card(trained)
    assert card.classes == CLASSES
    assert any("Its errors were not measured" in text for text in card.limits)
    assert card.output.startswith("3 logits")


def test_a_card_names_the_uncertainty_of_what_was_measured(trained, scores, tiny_pack):
    half = dataclasses.replace(scores, wrong1=scores.wrong1)
    card = write_card(trained, [half], tiny_pack)
    assert any("on 60 images is uncertain by about ±" in text for text in card.limits)
    assert any("The validation images also chose the epoch" in text for text in card.limits)
    assert not any("fewer than" in text for text in card.limits)  # each class has 50 images


def test_the_interval_is_wilsons(scores):
    counts = dataclasses.replace(scores.per_class["rings"], seen=400, wrong1=100, wrong5=0)
    a = dataclasses.replace(scores, seen=400, wrong1=100, wrong5=0, per_class={"rings": counts})
    assert compute_half_width(a) == pytest.approx(0.04230, abs=2e-5)


def test_preprocessing_is_said_step_by_step_with_its_numbers(trained):
    text = " ".join(write_card(trained).preprocessing)
    assert "Resize it to 32×32" in text
    assert "the central 28×28 pixels, from row and column 2 on" in text
    assert "Multiply by 0.015625" in text
    assert "luma" not in text
    yuv = dataclasses.replace(trained.preprocessing, pixels="yuv420")
    card = write_card(dataclasses.replace(trained, preprocessing=yuv))
    assert "luma" in " ".join(card.preprocessing)
