"""The recipes with a name, and which one suits a pack."""

import pytest

from alexnet.recipes.named import RECIPES, packed_side, recommend


def test_the_defaults_are_those_of_section_5():
    paper = RECIPES["paper"]
    assert (paper.batch_size, paper.momentum, paper.weight_decay) == (128, 0.9, 0.0005)
    assert (paper.learning_rate, paper.drop_factor, paper.drops) == (0.01, 10, 3)
    assert (paper.epochs, paper.crop, paper.dropout) == (90, 224, 0.5)


@pytest.mark.parametrize("name", [n for n in RECIPES if "146" not in n and n != "paper"])
def test_every_recipe_names_layers_that_its_network_has(name):
    from alexnet import nets

    recipe = RECIPES[name]
    layers = {layer.name for layer in nets.list_layers(recipe.network)} | {"low2"}
    assert {value.layer for value in (*recipe.rates, *recipe.decays)} <= layers


def test_every_kind_of_pack_gets_a_recipe_that_exists():
    names = {
        ("digits", 32, 1_448, True): "digits",
        ("cifar10", 32, 50_000, True): "cifar",
        ("folder", 256, 9_469, True): "small",
        ("folder", 256, 500_000, False): "small",
        ("ilsvrc2012", 256, 1_281_167, True): "paper",
    }
    for pack, name in names.items():
        assert recommend(*pack)[0] == name
        assert name in RECIPES


def test_the_reason_says_what_the_pack_has():
    assert recommend("cifar10", 32, 50_000, True)[1] == "the packed images are small (32×32)"
    assert "9,469" in recommend("folder", 256, 9_469, True)[1]


def test_photographs_are_packed_a_seventh_larger_than_the_crops():
    assert packed_side(224) == 256
