"""A training described whole."""

import pytest

from alexnet.recipe import RECIPES, Recipe, recommend


def test_the_defaults_are_those_of_section_5():
    paper = RECIPES["paper"]
    assert (paper.batch_size, paper.momentum, paper.weight_decay) == (128, 0.9, 0.0005)
    assert (paper.learning_rate, paper.drop_factor, paper.drops) == (0.01, 10, 3)
    assert (paper.epochs, paper.crop, paper.dropout) == (90, 224, 0.5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_dictionary(name):
    assert Recipe.from_dict(RECIPES[name].to_dict()) == RECIPES[name]


def test_a_misspelt_field_is_an_error_that_lists_the_fields():
    with pytest.raises(ValueError, match=r"no learning_rat; it has .*learning_rate"):
        Recipe.from_dict({"learning_rat": 0.1})


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("momentum", 1.0), ("color_noise", -1), ("patience", 0)]
)
def test_a_value_that_cannot_train_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Recipe(**{field: value})


def test_every_kind_of_pack_gets_a_recipe_that_exists():
    found = {
        ("digits", 32, 1_448, True): "digits",
        ("cifar10", 32, 50_000, True): "cifar",
        ("folder", 256, 9_469, True): "small",
        ("folder", 256, 500_000, False): "small",
        ("ilsvrc2012", 256, 1_281_167, True): "paper",
    }
    for pack, name in found.items():
        assert recommend(*pack)[0] == name
        assert name in RECIPES
