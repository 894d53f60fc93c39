"""What a classifier accepts as an image, and its errors for anything else."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import picture

import alexnet

PIXELS = picture(1, 77)


@pytest.fixture(scope="module")
def classifier(run):
    with alexnet.load(run, device="cpu") as classifier:
        yield classifier


@pytest.fixture
def path(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_an_open_file_and_a_tensor_give_what_the_array_gives(classifier, path):
    wanted = classifier.predict(PIXELS)
    written = io.BytesIO()
    Image.fromarray(PIXELS).save(written, "PNG")  # its position is at the end
    tensor = torch.from_numpy(PIXELS)
    with path.open("rb") as file:
        forms = [file, io.BytesIO(path.read_bytes()), written, tensor, tensor.permute(2, 0, 1)]
        found = [classifier.predict(form) for form in forms]
        assert found[0].name == str(path)
        assert found[1].name == "BytesIO"
    assert {x.probabilities for x in found} == {wanted.probabilities}


def test_a_tensor_of_gray_values_is_an_image(classifier):
    gray = torch.from_numpy(PIXELS[..., 0].copy())
    wanted = classifier.predict(gray.numpy()).probabilities
    assert classifier.predict(gray).probabilities == wanted
    assert classifier.predict(gray[None]).probabilities == wanted


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8), r"float32 \(3, 8, 8\) was given.*\(x \* 255\)"),
        (torch.zeros(3, 8, 3, dtype=torch.uint8), r"colors may come first or last.*permute"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"a batch: give a list of images, list\(x\)"),
        (torch.zeros(4, 8, 8, dtype=torch.uint8), r"\(3, height, width\)"),
        (np.zeros((8, 8, 3)), r"float64.*\(x \* 255\)\.round\(\)"),
        (np.full((8, 8, 3), 128.0), r"float64.*\(x\)\.round\(\)"),
        (np.zeros((3, 8, 8), np.uint8), r"x\.transpose\(1, 2, 0\)"),
        (np.zeros((8, 8, 4), np.uint8), r"x\[\.\.\., :3\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"list\(x\)"),
        (np.zeros((8, 8, 3), np.int64), r"int64.*astype\(np\.uint8\)"),
        (None, "None was given, but an image is a path"),
        ({"a": 1}, "type dict was given"),
        (7, "type int was given"),
        (io.StringIO("x"), r"open\(path, 'rb'\)"),
        ((p for p in ["a.jpg"]), "type generator was given.*stream"),
    ],
)
def test_what_is_no_image_is_a_type_error_that_says_how_to_convert(classifier, image, message):
    with pytest.raises(TypeError, match=message):
        classifier.predict(image)


def test_a_list_within_a_list_is_refused(classifier):
    with pytest.raises(TypeError, match="type list was given in place of one image"):
        classifier.predict([[PIXELS]])


def test_a_missing_file_and_a_folder_are_named(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        classifier.predict(tmp_path / "none.jpg")
    with pytest.raises(IsADirectoryError, match=r"is a folder.*glob"):
        classifier.predict(tmp_path)
    assert [x.error is None for x in classifier.predict([tmp_path, PIXELS])] == [False, True]
