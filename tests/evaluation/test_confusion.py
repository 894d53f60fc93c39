"""Confusion matrices and the scores of classes, compared with scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from alexnet.evaluation.confusion import (
    count_confusions,
    find_confident_mistakes,
    find_confused_pairs,
    score_classes,
)


@pytest.fixture
def labels_and_predictions():
    chance = np.random.default_rng(0)
    return chance.integers(0, 6, 500), chance.integers(0, 6, 500)


def test_confusions_are_those_of_scikit_learn(labels_and_predictions):
    labels, predicted = labels_and_predictions
    expected = confusion_matrix(labels, predicted, labels=range(7))
    assert np.array_equal(count_confusions(labels, predicted, 7), expected)


def test_scores_are_those_of_scikit_learn(labels_and_predictions):
    labels, predicted = labels_and_predictions
    found = score_classes(count_confusions(labels, predicted, 6))
    expected = precision_recall_fscore_support(labels, predicted)
    for ours, theirs in zip(
        (found.precision, found.recall, found.f1, found.seen), expected, strict=True
    ):
        assert ours == pytest.approx(theirs)
    assert found.top1_error == pytest.approx(1 - found.recall)


def test_a_score_that_is_not_defined_is_nan():
    confusion = np.array([[3, 0, 0], [1, 0, 0], [0, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score_classes(confusion, np.array([1, 1, 0]))
    assert found.precision[0] == 0.75
    assert np.isnan(found.precision[1:]).all()  # nothing was taken for them
    assert found.recall[:2].tolist() == [1, 0]
    assert np.isnan(found.recall[2])  # there are none
    assert found.f1[1] == 0
    assert np.isnan(found.f1[2])
    assert found.top5_error[:2] == pytest.approx([1 / 3, 1])


def test_the_most_confused_pairs_come_first_and_right_predictions_are_none():
    confusion = np.array([[9, 2, 0], [5, 9, 2], [0, 0, 9]])
    assert find_confused_pairs(confusion, 2) == [(1, 0, 5), (0, 1, 2)]
    assert find_confused_pairs(confusion, 9) == [(1, 0, 5), (0, 1, 2), (1, 2, 2)]
    assert find_confused_pairs(np.eye(3, dtype=np.int64), 9) == []


def test_the_most_confident_mistakes_come_first_and_unlabeled_images_are_none():
    likely = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.99, 0.01]], np.float32)
    labels = np.array([0, 0, 0, -1])
    assert find_confident_mistakes(labels, likely, 5).tolist() == [2, 1]
    assert find_confident_mistakes(labels, likely, 1).tolist() == [2]
