"""What is computed of a run: its images, outputs, kernels and augmented images."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

import alexnet
from alexnet.batches.augment import augment, draw_augmentation
from alexnet.explaining.augmented import augment_in_epochs, crop_all_views
from alexnet.explaining.kernels import read_first_kernels
from alexnet.explaining.outputs import compute_outputs
from alexnet.explaining.projection import project_features
from alexnet.explaining.subject import open_subject
from alexnet.nets import build


@pytest.fixture(scope="module")
def subject(run):
    return open_subject(run, device="cpu")


def test_outputs_are_those_of_the_classifier(subject, run):
    indices = np.arange(7, 60)
    found = compute_outputs(subject, "val", indices)
    classifier = alexnet.load(run, device="cpu")
    records = list(subject.pack.splits["val"].gather(indices))
    assert torch.allclose(
        torch.from_numpy(found.probabilities), classifier.probabilities(records), atol=1e-6
    )
    features = classifier.features(records, found.layer).flatten(1)
    assert found.layer == "pool3"
    assert torch.allclose(torch.from_numpy(found.features), features, atol=1e-4)
    assert np.array_equal(found.labels, subject.pack.splits["val"].labels[indices])


def test_outputs_report_progress_and_leave_out_features(subject):
    seen = []
    found = compute_outputs(
        subject,
        "val",
        np.arange(60),
        with_features=False,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.features.shape == (60, 0)
    assert seen[-1] == (60, 60)


def test_the_split_is_val_unless_another_is_wanted(subject):
    assert subject.choose_split() == "val"
    assert subject.choose_split("train") == "train"
    with pytest.raises(ValueError, match="no test images; it has train, val"):
        subject.choose_split("test")


def test_examples_are_evenly_spaced_images_with_labels(subject):
    examples = subject.take_examples(4)
    split = subject.pack.splits["val"]
    assert examples.labels.tolist() == split.labels[[0, 19, 39, 59]].tolist()
    assert examples.names[1] == split.name(19)
    images = subject.to_rgb(examples.records)
    assert images.shape == (4, 32, 32, 3)
    assert np.array_equal(subject.crop_center(images), images[:, 2:30, 2:30])


def test_samples_stand_in_for_a_pack_that_is_gone(run, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    (moved / "environment.json").unlink()
    subject = open_subject(moved, device="cpu")
    assert subject.pack is None
    examples = subject.take_examples(5)
    assert examples.source == "kept val"
    assert (examples.labels >= 0).all()
    with pytest.raises(FileNotFoundError, match="does not say what"):
        subject.require_pack()
    (moved / "samples.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="--pack PACK"):
        open_subject(moved, device="cpu").take_examples(5)


def test_the_towers_are_found_in_the_shapes_of_the_weights():
    for name, towers in {
        "alexnet": 2,
        "original-145": 2,
        "original-145-half": 1,
        "cifar": 1,
    }.items():
        with torch.device("meta"):
            weights = build(name).state_dict()
        zeros = {k: torch.zeros(v.shape) for k, v in weights.items() if k.startswith("conv")}
        kernels, found = read_first_kernels(zeros)
        assert (kernels.shape[1], found) == (3, towers), name
    kernels, found = read_first_kernels(
        {
            "features.0.weight": torch.ones(64, 3, 11, 11),
            "features.3.weight": torch.ones(192, 64, 5, 5),
        }
    )
    assert (len(kernels), found) == (64, 1)
    with pytest.raises(ValueError, match="reads an image with 3 channels"):
        read_first_kernels({"fc.weight": torch.ones(3, 3)})


def test_augmented_images_are_the_network_input_of_training_without_mean_and_scale(subject):
    recipe = subject.trained.recipe
    record = subject.take_examples(1).records[0]
    found = augment_in_epochs(record, subject.preprocessing, recipe, 3)
    assert found.shape == (3, 28, 28, 3)
    params = draw_augmentation(recipe, 2, 1, subject.preprocessing)
    trained = augment(torch.from_numpy(record[None]), params, subject.preprocessing)[0]
    preprocessing = subject.preprocessing
    top, left = int(params.tops[0]), int(params.lefts[0])
    mean = preprocessing.mean[top : top + 28, left : left + 28]
    mean = mean.flip(1) if params.flips[0] else mean
    pixels = trained.permute(1, 2, 0) / preprocessing.pixel_scale + mean
    assert np.abs(pixels.round().clip(0, 255).numpy() - found[2]).max() <= 1


def test_the_views_are_crops_of_the_image(subject):
    record = subject.take_examples(1).records[0]
    views = crop_all_views(record, subject.preprocessing)
    assert views.shape == (10, 28, 28, 3)
    assert np.array_equal(views[2], record[2:30, 2:30])
    assert np.array_equal(views[5:], views[:5, :, ::-1])


def test_yuv_records_are_shown_in_color(tmp_path):
    from tests.conftest import QUICK, pictures

    from alexnet.packing.pack import pack
    from alexnet.training.train import train

    made = pack(pictures(8, 4), tmp_path / "x.pack", processes=1, pixels="yuv420")
    recipe = dataclasses.replace(QUICK, epochs=1)
    subject = open_subject(train(made, tmp_path / "run", recipe, device="cpu").run, device="cpu")
    examples = subject.take_examples(2)
    assert subject.to_rgb(examples.records).shape == (2, 32, 32, 3)
    assert augment_in_epochs(examples.records[0], subject.preprocessing, recipe).shape[0] == 10


def test_projections_repeat_and_separate_what_is_apart():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(40, 100)).astype(np.float32)
    features[20:] += 10
    first, second = project_features(features), project_features(features)
    assert list(first)[1] == "t-SNE"
    for name, points in first.items():
        assert points.shape == (40, 2)
        assert np.array_equal(points, second[name])
        between = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
        assert between > points[:20].std()
    assert list(project_features(features[:5])) == [next(iter(project_features(features[:5])))]
    with pytest.raises(ValueError, match="must be two, all finite"):
        project_features(np.full((4, 2), np.nan, np.float32))
