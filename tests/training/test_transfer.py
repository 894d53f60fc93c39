"""Beginning with the network of an earlier training."""

import dataclasses
import json

import pytest
import torch
from tests.conftest import pictures

from alexnet import checkpoint, nets
from alexnet.nets.variations import network_of
from alexnet.packing.pack import pack
from alexnet.recipes.recipe import Recipe
from alexnet.training.train import train
from alexnet.training.transfer import NETWORK_FIELDS, Transfer, _find_last_layer, adopt_network


@pytest.fixture(scope="module")
def earlier(tiny_pack, tmp_path_factory):
    """A run of one epoch, and its weights."""
    recipe = Recipe(network="cifar", initialization="variance", crop=28, dropout=0.0, epochs=1,
                    batch_size=50, pixel_scale=1 / 64, seed=5)  # fmt: skip
    run = train(tiny_pack, tmp_path_factory.mktemp("runs") / "earlier", recipe, device="cpu").run
    return run, checkpoint.load(checkpoint.find(run)).weights


@pytest.fixture
def one_epoch(quick):
    return dataclasses.replace(quick, epochs=1, batch_size=75, seed=9)


def taken(transfer, recipe, classes=("rings", "stripes", "spots")):
    """The layers that a transfer takes into a new network, which is returned too."""
    torch.manual_seed(1)
    network = network_of(recipe, len(classes))
    return transfer.into(network, recipe, classes), network.state_dict()


def test_frozen_layers_keep_the_weights_that_were_taken_and_the_log_names_them(
    earlier, tiny_pack, one_epoch, tmp_path
):
    recipe = dataclasses.replace(one_epoch, rates=("conv1=0", "conv2=0"))
    init = Transfer(earlier[0], reset=("fc4",))
    run = train(tiny_pack, tmp_path / "run", recipe, device="cpu", init=init).run
    found = checkpoint.load(checkpoint.find(run)).weights
    same = {name for name, weights in found.items() if torch.equal(weights, earlier[1][name])}
    assert same == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}
    first = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert (first["event"], first["new"]) == ("init", ["fc4"])
    assert first["taken"] == ["conv1", "conv2", "conv3"]


def test_init_may_be_the_path_of_a_run_all_of_whose_layers_are_taken(
    earlier, tiny_pack, one_epoch, tmp_path
):
    run = train(tiny_pack, tmp_path / "run", one_epoch, device="cpu", init=str(earlier[0])).run
    first = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert first["taken"] == ["conv1", "conv2", "conv3", "fc4"]


def test_all_layers_are_taken_where_the_classes_are_the_same(earlier, one_epoch):
    names, weights = taken(Transfer(earlier[0]), one_epoch)
    assert names == ("conv1", "conv2", "conv3", "fc4")
    assert all(torch.equal(weights[name], earlier[1][name]) for name in weights)


@pytest.mark.parametrize("classes", [("rings", "stripes", "zigzag"), ("rings", "stripes")])
def test_the_last_layer_is_drawn_anew_where_the_classes_differ(earlier, one_epoch, classes):
    names, weights = taken(Transfer(earlier[0]), one_epoch, classes)
    assert names == ("conv1", "conv2", "conv3")
    assert len(weights["fc4.bias"]) == len(classes)


def test_named_layers_alone_are_taken(earlier, one_epoch):
    names, weights = taken(Transfer(earlier[0], take=("conv1", "conv3")), one_epoch)
    assert names == ("conv1", "conv3")
    assert not torch.equal(weights["conv2.weight"], earlier[1]["conv2.weight"])


def test_layers_of_another_network_are_taken_by_name_if_they_fit(earlier, one_epoch):
    other = dataclasses.replace(one_epoch, network="cifar-80sec")
    names, _ = taken(Transfer(earlier[0], take=("conv1", "conv2")), other)
    assert names == ("conv1", "conv2")
    with pytest.raises(ValueError, match="Draw them anew: --reset fc4"):
        taken(Transfer(earlier[0]), other)


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        ({"take": ("conv9",)}, "--take conv9: the layers are conv1, conv2, conv3, fc4"),
        ({"reset": ("fc8",)}, "--reset fc8: the layers are"),
        ({"reset": ("conv1", "conv2", "conv3", "fc4")}, "no layer would be taken"),
    ],
)
def test_unknown_layers_are_refused_and_the_known_ones_listed(
    earlier, one_epoch, transfer, message
):
    with pytest.raises(ValueError, match=message):
        taken(Transfer(earlier[0], **transfer), one_epoch)


def test_a_recipe_that_scales_pixels_differently_is_refused(earlier, one_epoch):
    with pytest.raises(ValueError, match=r"pixel_scale 0.015625, .* has 1.0"):
        taken(Transfer(earlier[0]), dataclasses.replace(one_epoch, pixel_scale=1.0))


def test_a_recipe_adopts_the_network_of_an_earlier_training(earlier):
    found = adopt_network(Recipe(epochs=7), earlier[0])
    assert set(found.differences(Recipe())) <= {*NETWORK_FIELDS, "epochs"}
    assert (found.network, found.crop, found.epochs) == ("cifar", 28, 7)


@pytest.mark.parametrize("name", nets.NETS)
def test_the_last_layer_of_every_network_is_found(name):
    net = nets.find(name)
    recipe = Recipe(network=name, crop=net.size)
    assert _find_last_layer(recipe, 7) == nets.list_layers(name, 7)[-1].name


def test_a_sixth_convolution_is_new_and_the_other_five_are_taken(tmp_path):
    small = pack(pictures(train=1, val=1, side=96), tmp_path / "small.pack", processes=1)
    first = Recipe(network="original-145", crop=91, epochs=1, batch_size=3)
    run = train(small, tmp_path / "first", first, device="cpu").run
    second = dataclasses.replace(first, network="original-146", seed=3)
    take = Transfer(run, take=tuple(f"conv{i}" for i in range(1, 6)))
    names, weights = taken(take, second, small.classes)
    assert names == take.take
    assert "conv6.weight" in weights
