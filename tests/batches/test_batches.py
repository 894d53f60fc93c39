"""Batches: a pure function of seed, epoch and position."""

import dataclasses

import numpy as np
import pytest
import torch

from alexnet.batches.augment import Preprocessing, augment, draws, order
from alexnet.batches.batches import Batches, crop_views, views
from alexnet.batches.loaders import prefetch
from alexnet.device import Machine
from alexnet.recipes.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(crop=28, batch_size=32, color_noise=0.1)


@pytest.fixture
def batches(tiny_pack):
    return Batches(
        tiny_pack.splits["train"], Preprocessing.of(tiny_pack, RECIPE), RECIPE, Machine(CPU)
    )


def test_every_image_is_seen_once_an_epoch_and_the_last_batch_may_be_short(batches):
    members = [batch.members for batch in batches.epoch(0)]
    assert [len(m) for m in members] == [32, 32, 32, 32, 22]
    assert sorted(np.concatenate(members)) == list(range(150))


def test_starting_in_the_middle_gives_what_going_through_would_have_given(batches):
    whole = [(b.images.clone(), b.labels.clone()) for b in batches.epoch(4)]
    for start in (1, 3, 5):
        rest = [(b.images.clone(), b.labels.clone()) for b in batches.epoch(4, start)]
        assert len(rest) == 5 - start
        for mine, theirs in zip(rest, whole[start:], strict=True):
            assert torch.equal(mine[0], theirs[0])
            assert torch.equal(mine[1], theirs[1])


def test_a_batch_is_the_augmentation_of_its_records(batches, tiny_pack):
    split = tiny_pack.splits["train"]
    sequence, draw = order(0, 1, 150), draws(RECIPE, 1, 150, batches.preprocessing)
    at = slice(32, 64)
    twin = augment(split.gather(sequence[at]), draw[at], batches.preprocessing, color_noise=0.1)
    images = [batch.images.clone() for batch in batches.epoch(1)]
    assert torch.equal(images[1], twin)


def test_labels_belong_to_their_images(batches, tiny_pack):
    for batch in batches.epoch(0):
        assert (batch.labels.numpy() == tiny_pack.splits["train"].labels[batch.members]).all()


def test_views_of_an_image_stand_together(tiny_pack):
    split, how = tiny_pack.splits["val"], Preprocessing.of(tiny_pack, RECIPE)
    members = np.arange(7)
    some = list(views(split, split.labels, members, how, CPU, n_views=10, batch_size=3))
    assert [tuple(b.images.shape) for b in some] == [
        (30, 3, 28, 28),
        (30, 3, 28, 28),
        (10, 3, 28, 28),
    ]
    alone = crop_views(split.gather(np.array([4])), how, 10)
    assert torch.equal(some[1].images[10:20], alone)


def test_another_number_of_views_is_refused(tiny_pack):
    how = Preprocessing.of(tiny_pack, RECIPE)
    with pytest.raises(ValueError, match="7 views: there are 1"):
        crop_views(tiny_pack.splits["val"].gather(np.arange(2)), how, 7)


def test_an_error_in_the_background_reaches_the_foreground():
    def make(step):
        if step == 2:
            raise OSError("the disk is gone")
        return step

    found = []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(step for step, _ in prefetch(make, range(5)))
    assert list(prefetch(make, range(0))) == []


def test_color_noise_switched_off_divides_nothing(tiny_pack):
    plain = dataclasses.replace(RECIPE, color_noise=0.0, flip=False, random_crop=False)
    how = Preprocessing.of(tiny_pack, plain)
    batch = next(Batches(tiny_pack.splits["train"], how, plain, Machine(CPU)).epoch(0))
    record = tiny_pack.splits["train"].gather(batch.members)[:, 2:30, 2:30].astype(np.float32)
    twin = record - how.mean[2:30, 2:30].numpy()
    assert batch.images.permute(0, 2, 3, 1).numpy() == pytest.approx(twin, abs=1e-4)
