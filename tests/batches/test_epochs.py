"""Training batches: a pure function of seed, epoch and step."""

import dataclasses

import numpy as np
import pytest
import torch

from alexnet.batches.augment import augment, draw_augmentation, draw_order
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.device import Machine
from alexnet.recipes.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(crop=28, batch_size=32, color_noise=0.1)


@pytest.fixture
def batches(tiny_pack):
    return Batches(
        tiny_pack.splits["train"], Preprocessing.of(tiny_pack, RECIPE), RECIPE, Machine(CPU)
    )


def test_every_image_is_used_once_per_epoch_and_the_last_batch_may_be_short(batches):
    indices = [batch.indices for batch in batches.epoch(0)]
    assert [len(x) for x in indices] == [32, 32, 32, 32, 22]
    assert sorted(np.concatenate(indices)) == list(range(150))


def test_an_epoch_started_in_the_middle_gives_the_remaining_batches(batches):
    whole = [(b.images.clone(), b.labels.clone()) for b in batches.epoch(4)]
    for start in (1, 3, 5):
        rest = [(b.images.clone(), b.labels.clone()) for b in batches.epoch(4, start)]
        assert len(rest) == 5 - start
        for (images, labels), (all_images, all_labels) in zip(rest, whole[start:], strict=True):
            assert torch.equal(images, all_images)
            assert torch.equal(labels, all_labels)


def test_a_batch_is_the_augmentation_of_its_records(batches, tiny_pack):
    split = tiny_pack.splits["train"]
    order, preprocessing = draw_order(0, 1, 150), batches.preprocessing
    params, second = draw_augmentation(RECIPE, 1, 150, preprocessing), slice(32, 64)
    wanted = augment(split.gather(order[second]), params[second], preprocessing, color_noise=0.1)
    images = [batch.images.clone() for batch in batches.epoch(1)]
    assert torch.equal(images[1], wanted)


def test_labels_belong_to_their_images(batches, tiny_pack):
    for batch in batches.epoch(0):
        assert (batch.labels.numpy() == tiny_pack.splits["train"].labels[batch.indices]).all()


def test_without_color_noise_images_are_not_divided(tiny_pack):
    plain = dataclasses.replace(RECIPE, color_noise=0.0, flip=False, random_crop=False)
    preprocessing = Preprocessing.of(tiny_pack, plain)
    batch = next(Batches(tiny_pack.splits["train"], preprocessing, plain, Machine(CPU)).epoch(0))
    record = tiny_pack.splits["train"].gather(batch.indices)[:, 2:30, 2:30].astype(np.float32)
    wanted = record - preprocessing.mean[2:30, 2:30].numpy()
    assert batch.images.permute(0, 2, 3, 1).numpy() == pytest.approx(wanted, abs=1e-4)
