"""All networks: golden tables, one training step each, and unknown names."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets
from alexnet.nets.layers import find_dropouts
from alexnet.recipes.recipe import Recipe
from alexnet.training.loop import new_network

GOLDEN = Path(__file__).parents[1] / "golden"
FEWER_PIXELS = {227: 99, 224: 99, 32: 16, 24: 12}
"""Default size → a smaller one, at which a test takes less time."""
DIFFERENT = ["alexnet", "original-145", "original-150", "original-120", "original-137"]
DIFFERENT += ["torchvision", "bvlc-alexnet", "caffenet"]
DIFFERENT += [name for name in nets.NETS if nets.NETS[name].size < 64]
"""All networks except large ones that consist of parts of others."""


def parameters(name, classes=None):
    return sum(x.parameters for x in nets.list_layers(name, classes))


@pytest.mark.parametrize("name", nets.NETS)
def test_layers_parameters_and_multiply_adds_are_the_golden_ones(name):
    rows = [[x.name, list(x.shape), x.parameters, x.multiply_adds] for x in nets.list_layers(name)]
    assert rows == json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", nets.NETS)
def test_every_weight_is_counted_in_the_table_of_layers(name):
    with torch.device("meta"):
        network = nets.build(name)
    assert parameters(name) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("alexnet", 1000, 60_965_224),
        ("original-145", 1000, 60_965_224),
        ("original-145-half", 1000, 59_798_312),
        ("original-147", 1000, 60_965_224),
        ("original-148", 1000, 60_965_224),
        ("original-167", 1000, 60_965_224),
        ("original-120", 1000, 60_870_376),
        ("original-131", 1000, 60_870_376),
        ("original-135", 1000, 60_870_376),
        ("original-137", 1000, 60_870_376),
        ("original-146", 1000, 61_555_304),
        ("original-146", 10_184, 99_182_152),
        ("original-146-2011", 21_843, 110_605_267),
        ("torchvision", 1000, 61_100_840),
        ("bvlc-alexnet", 1000, 60_965_224),
        ("caffenet", 1000, 60_965_224),
    ],
)
def test_parameters_are_those_of_the_paper_and_of_the_programs_that_networks_are_from(
    name, classes, expected
):
    assert parameters(name, classes) == expected


@pytest.mark.parametrize("name", nets.NETS)
def test_the_dropout_layers_of_a_network_have_different_numbers(name):
    with torch.device("meta"):
        numbers = [dropout.layer for dropout in find_dropouts(nets.build(name))]
    assert numbers
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", DIFFERENT)
def test_networks_initialize_all_weights_and_have_a_gradient_for_each(name):
    side = FEWER_PIXELS[nets.NETS[name].size]
    network = nets.build(name, 3, side)
    network.initialize("printed")
    logits = network(torch.randn(2, 3, side, side))
    F.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert logits.shape == (2, 3)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["alexnet", "original-145"])
def test_the_first_loss_is_a_little_more_than_ln_of_the_classes(name):
    torch.manual_seed(0)
    network = nets.build(name, 1000).eval()
    network.initialize("printed")
    logits = network(60 * torch.randn(2, 3, 224, 224))
    loss = F.cross_entropy(logits, torch.tensor([1, 2]))
    assert 6.8 < loss.item() < 7.6


def test_an_unknown_network_is_an_error_that_lists_the_networks():
    with pytest.raises(ValueError, match="alexnet, cifar"):
        nets.build("alexnett")


def test_a_built_network_has_the_first_weights_of_a_training_with_its_seed():
    recipe = Recipe(network="cifar", crop=28, dropout=0.0, seed=3)
    wanted = new_network(recipe, 5).state_dict()
    state = torch.get_rng_state()
    found = nets.NETS["cifar"].build(5, 28, 0.0, seed=3).state_dict()
    assert all(torch.equal(found[name], x) for name, x in wanted.items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_paper_s_network_is_built_with_the_paper_s_first_weights():
    network = nets.NETS["alexnet"].build(10, seed=0)
    for name, layer in network.named_children():
        if hasattr(layer, "weight"):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05), name
            bias = float(name in ("conv2", "conv4", "conv5", "fc6", "fc7"))
            assert (layer.bias == bias).all(), name


def test_first_weights_repeat_from_a_generator_and_from_torch_s_own():
    def build(**chance):
        return nets.NETS["cifar"].build(5, 28, **chance).conv1.weight

    def generator():
        return torch.Generator().manual_seed(1)

    assert torch.equal(build(generator=generator()), build(generator=generator()))
    torch.manual_seed(2)
    first = build()
    assert not torch.equal(build(), first)
    torch.manual_seed(2)
    assert torch.equal(build(), first)
    with pytest.raises(ValueError, match="a seed and a generator"):
        build(seed=1, generator=generator())
