"""The algebra of colors, scale and mean, and reading of mean images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.importing import foreign

from alexnet.importing.conversion import (
    CAFFE_MEAN,
    SCALE,
    fold_deviations,
    read_caffe_mean,
    reverse_colors,
)


def test_conv1_gives_the_same_with_deviations_in_its_weights():
    pixels = torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8)
    weight = torch.randn(4, 3, 5, 5)
    theirs = foreign.normalize(pixels.numpy(), 20)
    mean = 255 * torch.tensor([0.485, 0.456, 0.406])
    ours = ((pixels.float() - mean) * SCALE).permute(0, 3, 1, 2)
    expected = F.conv2d(theirs.double(), weight.double(), padding=2)
    found = F.conv2d(ours.double(), fold_deviations(weight).double(), padding=2)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_folding_keeps_the_size_of_the_weights():
    weight = torch.randn(64, 3, 11, 11)
    assert fold_deviations(weight).std().item() == pytest.approx(weight.std().item(), rel=0.01)


def test_conv1_gives_the_same_with_colors_reversed():
    x, weight = torch.randn(2, 3, 9, 9), torch.randn(4, 3, 5, 5)
    assert torch.allclose(
        F.conv2d(x.flip(1), weight), F.conv2d(x, reverse_colors(weight)), atol=1e-5
    )


@pytest.mark.parametrize("kind", ["binaryproto", "npy", "one color"])
def test_mean_images_of_caffe_become_red_first_with_colors_last(kind, tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (3, 256, 256)).astype(np.float32)
    if kind == "binaryproto":
        path = tmp_path / "mean.binaryproto"
        path.write_bytes(foreign.blob(mean[None]))
    else:
        path = tmp_path / "mean.npy"
        np.save(path, mean if kind == "npy" else mean[:, 0, 0].astype(np.float64))
    found = read_caffe_mean(path)
    assert found.shape == (256, 256, 3)
    row, column = (0, 0) if kind == "one color" else (3, 5)
    assert found[3, 5].tolist() == mean[::-1, row, column].tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 227, 227)), r"the shape \(3, 227, 227\), and a mean has \(3, 256, 256\)"),
        (np.full(3, 256.0), "no mean of pixels"),
        (np.full(3, np.nan), "no mean of pixels"),
        (np.array(["a"]), "neither a .binaryproto nor an .npy of numbers"),
    ],
)
def test_other_arrays_are_refused(array, message, tmp_path):
    np.save(tmp_path / "mean.npy", array)
    with pytest.raises(ValueError, match=message):
        read_caffe_mean(tmp_path / "mean.npy")


def test_an_npy_that_claims_more_than_it_holds_is_refused(tmp_path):
    np.save(tmp_path / "mean.npy", np.zeros(3))
    content = (tmp_path / "mean.npy").read_bytes()
    (tmp_path / "mean.npy").write_bytes(content.replace(b"(3,), }         ", b"(3000000000,), }"))
    with pytest.raises(ValueError, match="neither"):
        read_caffe_mean(tmp_path / "mean.npy")


def test_the_usual_mean_is_red_first():
    red, green, blue = CAFFE_MEAN
    assert red > green > blue
