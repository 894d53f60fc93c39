"""Which network a file holds: names, shapes, order of layers and their parameters."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.importing import foreign

from alexnet.importing.caffe_files import read_caffemodel
from alexnet.importing.layouts import TORCHVISION, read_weights, rename_caffe, rename_torchvision

with torch.device("meta"):
    STATE = foreign.torchvision_alexnet(2).state_dict()
SHAPES = {name: tuple(x.shape) for name, x in STATE.items()}


def zeros(**changes):
    """Weights in torchvision's names and shapes, all zero, with some of another shape or gone.

    They take no memory: all values of a tensor are the same one.
    """
    shapes = {**SHAPES, **{k.replace("__", "."): v for k, v in changes.items()}}
    return {name: torch.zeros(()).expand(x) for name, x in shapes.items() if x is not None}


def make_layers(tmp_path, norm_first=True, changes=None, **options):
    """The layers of a network of Caffe, whose arrays are empty in the file and zeros in memory."""
    nothing = dict.fromkeys(foreign.SHAPES, ())
    path = tmp_path / "x.caffemodel"
    path.write_bytes(foreign.caffemodel(nothing, norm_first, **options))
    layers = read_caffemodel(path)
    shapes = iter({**foreign.SHAPES, **(changes or {})}.values())
    return [
        dataclasses.replace(layer, blobs=(np.zeros(x := next(shapes), np.float32), np.zeros(x[0])))
        if layer.type in ("Convolution", "InnerProduct")
        else layer
        for layer in layers
    ]


def test_layers_of_torchvision_get_the_papers_names(tmp_path):
    tensors = zeros()
    tensors["features.8.bias"] = torch.full((256,), 3.0)
    found = rename_torchvision(tensors, tmp_path)
    assert (found.network, found.n_classes) == ("torchvision", 2)
    assert (found.weights["conv4.bias"] == 3).all()
    assert found.weights.keys() == {
        f"{x}.{part}" for x in TORCHVISION.values() for part in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features__0__bias": None}, "lacks 'features.0.bias' and has besides nothing"),
        ({"features__1__weight": (3,)}, "lacks nothing and has besides 'features.1.weight'"),
        ({"features__0__weight": (64, 1, 11, 11)}, r"conv1.weight has the shape \(64, 1, 11, 11\)"),
        ({"classifier__6__bias": (3,)}, r"fc8.weight has the shape \(2, 4096\), not \(3, 4096\)"),
        ({"classifier__6__bias": ()}, "a last layer without classes"),
        ({"conv1__weight": (3,)}, "is a checkpoint of this program"),
    ],
)
def test_another_network_is_refused_and_the_difference_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        rename_torchvision(zeros(**changes), tmp_path)


def test_half_precision_becomes_float32_and_integers_are_refused(tmp_path):
    tensors = zeros()
    tensors["features.0.weight"] = tensors["features.0.weight"].half()
    found = rename_torchvision(tensors, tmp_path)
    assert {x.dtype for x in found.weights.values()} == {torch.float32}
    tensors["features.0.bias"] = torch.zeros(64, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"no floating-point numbers in conv1.bias"):
        rename_torchvision(tensors, tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    tensors = zeros()
    tensors["features.3.weight"] = torch.full((192, 64, 5, 5), torch.nan)
    with pytest.raises(ValueError, match=r"conv2.weight that are not finite"):
        rename_torchvision(tensors, tmp_path)


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_order_of_norm_and_pool_tells_caffes_networks_apart(norm_first, tmp_path):
    layers = make_layers(tmp_path, norm_first, names={"fc8": "fc8_flickr"})
    found = rename_caffe(layers, tmp_path)
    assert found.network == ("bvlc-alexnet" if norm_first else "caffenet")
    assert found.n_classes == foreign.CLASSES
    assert tuple(found.weights["fc6.weight"].shape) == (4096, 9216)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lrn": foreign.real(2, 5e-4)}, "'norm1' of .* has alpha 0.0005, .* have 0.0001"),
        ({"lrn": foreign.LRN + foreign.real(5, 2.0)}, "has k 2, .* have 1"),
        ({"changes": {"conv2": (256, 96, 5, 5)}}, r"conv2.weight has the shape \(256, 96, 5, 5\)"),
    ],
)
def test_a_layer_of_caffe_that_computes_something_else_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        rename_caffe(make_layers(tmp_path, **options), tmp_path)


def test_a_network_with_other_layers_is_refused_and_their_order_shown(tmp_path):
    (tmp_path / "x.caffemodel").write_bytes(foreign.layer("conv1", "Convolution"))
    with pytest.raises(
        ValueError, match=r"neither bvlc_alexnet nor caffenet: .* is C, not C L P C"
    ):
        read_weights(tmp_path / "x.caffemodel")


def test_the_extension_decides_and_others_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        read_weights(tmp_path / "x.pth")
    (tmp_path / "x.h5").touch()
    with pytest.raises(ValueError, match=r"has to end in .pth, .pt, .bin or .safetensors"):
        read_weights(tmp_path / "x.h5")
