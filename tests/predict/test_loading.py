"""Loading a classifier or only its weights, and the errors for swapped arguments."""

from pathlib import Path

import pytest
import torch
from torch import nn

import alexnet
from alexnet import checkpoint


@pytest.fixture
def weights(run):
    return checkpoint.load(checkpoint.find(run)).weights


def build(classes=3):
    return alexnet.NETS["cifar"].build(classes, 28)


def test_weights_go_into_a_network_that_was_built_alone(run, weights):
    network = build()
    names = alexnet.load_weights(network, run)
    assert set(names) == set(weights)
    assert all(torch.equal(x, weights[k]) for k, x in network.state_dict().items())


def test_weights_go_into_a_network_of_plain_torch_layers(run, weights):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 32, 5)

    network = Plain()
    assert alexnet.load_weights(network, run, strict=False) == ("conv1.weight", "conv1.bias")
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])
    with pytest.raises(ValueError, match=r"conv2\.weight: \(32, 32, 5, 5\) in the run, missing in"):
        alexnet.load_weights(network, run)


def test_weights_that_do_not_fit_are_named_with_both_shapes_and_nothing_is_copied(run):
    network = build(classes=7)
    before = {k: x.clone() for k, x in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"fc4\.bias: \(3,\) in the run, \(7,\) in the network"):
        alexnet.load_weights(network, run)
    assert all(torch.equal(x, before[k]) for k, x in network.state_dict().items())
    assert "fc4.bias" not in alexnet.load_weights(network, run, strict=False)


def test_a_network_that_shares_nothing_with_the_run_is_an_error_even_if_not_strict(run):
    with pytest.raises(ValueError, match="do not fit the Linear"):
        alexnet.load_weights(nn.Linear(2, 2), run, strict=False)


def test_swapped_arguments_are_named(run, tiny_pack, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"x")
    with pytest.raises(TypeError, match="the network comes first"):
        alexnet.load_weights(run, build())
    for image in (tmp_path / "cat.jpg", "no/cat.JPG"):
        with pytest.raises(ValueError, match="is an image, and not a run"):
            alexnet.load(image)
    with pytest.raises(ValueError, match="is a pack, and not a run"):
        alexnet.load(tiny_pack.path)
    with pytest.raises(ValueError, match="is a pack, and not a run"):
        alexnet.evaluate(tiny_pack.path, run)
    with pytest.raises(FileNotFoundError, match="name the run first and then the images"):
        alexnet.evaluate(tmp_path, run)


def test_a_list_of_runs_and_other_objects_are_type_errors(run):
    with pytest.raises(TypeError, match=r"one run is wanted, and a list of 2 was given"):
        alexnet.load([run, run])
    with pytest.raises(TypeError, match="not by a NoneType"):
        alexnet.load(None)


def test_a_path_that_does_not_exist_is_named():
    with pytest.raises(FileNotFoundError, match="there is no runs/none, and so no trained network"):
        alexnet.load(Path("runs/none"))
