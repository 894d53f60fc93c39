"""Counting errors."""

import numpy as np
import pytest
import torch
from tests.conftest import QUICK
from torch import nn

from alexnet.batches.preprocessing import Preprocessing
from alexnet.device import Machine
from alexnet.evaluation.counts import (
    Counts,
    choose_own,
    evaluate,
    predict_probabilities,
    rank_labels,
)
from alexnet.processes import World
from alexnet.training.loop import new_network


def test_ten_views_average_probabilities_and_not_logits():
    class Two(nn.Module):
        def forward(self, x):
            return torch.tensor([[3.0, 0, 0], [0, 2.0, 0]])

    averaged = predict_probabilities(Two(), torch.zeros(2, 3, 1, 1), 2)
    assert averaged[0].tolist() == pytest.approx([0.507975, 0.416132, 0.075893], abs=1e-6)
    counts = Counts(3)
    counts.add(averaged, torch.tensor([0]))
    assert counts.loss == pytest.approx(0.677323, abs=1e-6)


def test_a_rank_is_the_number_of_more_probable_classes():
    p = torch.tensor([[0.1, 0.6, 0.3]] * 3)
    assert rank_labels(p, torch.tensor([1, 2, 0])).tolist() == [0, 1, 2]


def test_of_equal_probabilities_the_lower_index_comes_first():
    assert rank_labels(torch.full((4, 4), 0.25), torch.arange(4)).tolist() == [0, 1, 2, 3]


def test_ranks_are_positions_in_a_stable_sort():
    rng = np.random.default_rng(0)
    likely = rng.integers(0, 4, (50, 6)).astype(np.float32)  # with many ties
    labels = rng.integers(0, 6, 50)
    order = np.argsort(-likely, axis=1, kind="stable")
    wanted = np.argmax(order == labels[:, None], axis=1)
    assert rank_labels(torch.from_numpy(likely), torch.from_numpy(labels)).tolist() == list(wanted)


def test_nan_ranks_last():
    p = torch.full((2, 8), float("nan"))
    assert (rank_labels(p, torch.tensor([0, 7])) >= 5).all()


def test_counts_are_integers_and_add_up_over_batches():
    rng = np.random.default_rng(0)
    p = torch.from_numpy(rng.dirichlet(np.ones(7), 100))
    labels = torch.from_numpy(rng.integers(0, 7, 100))
    whole, parts = Counts(7), Counts(7)
    whole.add(p, labels)
    for at in (slice(0, 33), slice(33, 34), slice(34, 100)):
        parts.add(p[at], labels[at])
    assert (parts.seen, parts.wrong1, parts.wrong5) == (whole.seen, whole.wrong1, whole.wrong5)
    assert torch.equal(parts.per_class, whole.per_class)
    top5 = p.topk(5).indices
    assert whole.wrong5 == sum(int(y not in t) for y, t in zip(labels, top5, strict=True))
    assert whole.wrong1 == int((p.argmax(1) != labels).sum())
    assert whole.per_class[:, 0].tolist() == np.bincount(labels, minlength=7).tolist()


def test_counting_does_not_wait_for_the_device():
    device = torch.device("meta")  # which has no numbers to read
    counts = Counts(7, device)
    for images in (4, 3):
        logits = torch.zeros(images, 7, device=device)
        counts.add(logits.softmax(1), torch.zeros(images, dtype=torch.int64, device=device))
    assert counts.per_class.device == counts.log_loss.device == device
    with pytest.raises(NotImplementedError):
        counts.read()


def test_read_returns_the_same_counts():
    counts = Counts(3)
    counts.add(torch.tensor([[0.5, 0.25, 0.25]] * 2), torch.tensor([0, 2]))
    found = counts.read()
    assert (found.seen, found.wrong1, found.wrong5) == (2, 1, 0)
    assert found.per_class.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 0]]
    assert found.loss == counts.loss == (0 - np.log(0.5) - np.log(0.25)) / 2


class Doubled(World):
    """A world in which every process has counted the same images."""

    def gather(self, value):
        return [value, value]


def test_every_image_belongs_to_one_process_whatever_their_number():
    indices = np.arange(107)
    for size in (1, 2, 3, 4, 64):
        parts = [choose_own(indices, 16, World(rank, size)) for rank in range(size)]
        assert np.array_equal(np.concatenate(parts), indices)
        assert all(len(part) % 16 == 0 for part in parts[:-1] if 107 not in part + 1)


def test_an_evaluation_that_saw_other_than_all_images_fails(tiny_pack):
    network = new_network(QUICK, 3)
    preprocessing = Preprocessing.of(tiny_pack, QUICK)
    arguments = network, tiny_pack.splits["val"], preprocessing, 3, Machine(torch.device("cpu"))
    counts = evaluate(*arguments, batch_size=32)
    assert counts.seen == 60
    with pytest.raises(RuntimeError, match="64 images were counted, but there are 60"):
        evaluate(*arguments, batch_size=32, world=Doubled(size=2))
