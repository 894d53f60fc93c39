"""Predictions of a trained network."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.images.decoded import UnusableImage
from tests.conftest import CLASSES, picture


@pytest.fixture(scope="module")
def classifier(run):
    return alexnet.load(run, device="cpu")


def encoded(pixels, form="PNG", **options):
    """Return an image file as bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def test_path_bytes_pil_and_array_give_the_same_labels(classifier, tmp_path):
    pixels = picture(1, 77)
    (tmp_path / "x.png").write_bytes(encoded(pixels))
    forms = [
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        encoded(pixels),
        Image.fromarray(pixels),
        pixels,
    ]
    found = [classifier.predict(form) for form in forms]
    assert len({x.labels for x in found}) == 1
    assert len({x.probabilities for x in found}) == 1
    assert found[0].labels[0] == "stripes"


def test_a_list_gives_a_list_in_its_order(classifier):
    images = [picture(k % 3, 500 + k) for k in range(70)]
    found = classifier.predict(images)
    alone = [classifier.predict(image) for image in images]
    assert [x.labels for x in found] == [x.labels for x in alone]
    right = sum(x.labels[0] == CLASSES[k % 3] for k, x in enumerate(found))
    assert right > 40  # of 60; by chance it would be 20


def test_probabilities_fall_and_sum_to_one(classifier):
    found = classifier.predict(picture(0, 3), top=3)
    assert sorted(found.probabilities, reverse=True) == list(found.probabilities)
    assert sum(found.probabilities) == pytest.approx(1)


def test_an_unreadable_image_is_an_error_of_that_image_only(classifier, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"<html>not found</html>")
    found = classifier.predict(
        [picture(0, 1), tmp_path / "bad.jpg", tmp_path / "none", picture(2, 1)]
    )
    assert [x.error is None for x in found] == [True, False, False, True]
    with pytest.raises(UnusableImage):
        classifier.predict(tmp_path / "bad.jpg")


def test_an_image_is_rotated_as_its_exif_orientation_says(classifier):
    pixels = np.ascontiguousarray(np.rot90(picture(1, 5), 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise
    turned = classifier.probabilities([encoded(pixels, exif=exif)])
    assert torch.equal(turned, classifier.probabilities([picture(1, 5)]))


def test_logits_and_features_are_the_networks_own(classifier):
    images = [picture(0, 1), picture(1, 1)]
    logits = classifier.logits(images)
    assert torch.equal(logits, classifier.features(images, "fc4"))
    assert classifier.features(images, "pool3").shape == (2, 64, 3, 3)
    assert torch.allclose(logits.softmax(1), classifier.probabilities(images), atol=1e-6)


def test_images_in_several_batches_give_the_same(classifier):
    images = [picture(k % 3, 700 + k) for k in range(70)]
    parts = torch.cat([classifier.logits(images[:7]), classifier.logits(images[7:])])
    assert torch.allclose(classifier.logits(images), parts, atol=1e-4)
    assert classifier.features(images, "pool3").shape[0] == 70
    ten = classifier.probabilities(images[:9], views=10)
    assert torch.allclose(ten[8:], classifier.probabilities(images[8], views=10), atol=1e-5)


def test_the_error_for_an_unknown_layer_names_the_layers(classifier):
    with pytest.raises(ValueError, match=r"no layer 'fc7'; it has conv1, .*fc4"):
        classifier.features(picture(0, 0))


def test_an_array_that_is_no_image_is_refused(classifier):
    with pytest.raises(TypeError, match=r"float64 .*uint8, \(height, width, 3\)"):
        classifier.predict(np.zeros((4, 4, 3)))


def test_a_checkpoint_file_can_be_loaded_without_its_run(run, tmp_path):
    moved = tmp_path / "alone.safetensors"
    moved.write_bytes((run / "best.safetensors").read_bytes())
    assert alexnet.load(moved, device="cpu").classes == CLASSES


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        alexnet.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="Train one: alexnet train"):
        alexnet.load(tmp_path / "nowhere")


def test_a_prediction_as_json_has_labels_or_an_error(classifier, tmp_path):
    good, bad = classifier.predict([picture(0, 1), tmp_path / "none.jpg"], top=2)
    assert set(good.to_dict()) == {"image", "labels"}
    assert good.to_dict()["labels"] == [
        {"label": label, "probability": p}
        for label, p in zip(good.labels, good.probabilities, strict=True)
    ]
    assert bad.to_dict() == {"image": str(tmp_path / "none.jpg"), "error": bad.error}
