"""A training described whole."""

import json

import pytest

from alexnet.recipes.recipe import RECIPES, Recipe, Step, recommend


def test_the_defaults_are_those_of_section_5():
    paper = RECIPES["paper"]
    assert (paper.batch_size, paper.momentum, paper.weight_decay) == (128, 0.9, 0.0005)
    assert (paper.learning_rate, paper.drop_factor, paper.drops) == (0.01, 10, 3)
    assert (paper.epochs, paper.crop, paper.dropout) == (90, 224, 0.5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_file(name):
    text = json.dumps(RECIPES[name].to_dict())
    assert Recipe.from_dict(json.loads(text)) == RECIPES[name]


def test_a_recipe_from_before_a_field_was_added_means_what_it_meant():
    assert Recipe.from_dict({"epochs": 3}) == Recipe(epochs=3)


@pytest.mark.parametrize("name", [n for n in RECIPES if "146" not in n and n != "paper"])
def test_every_recipe_names_layers_that_its_network_has(name):
    from alexnet import nets

    recipe = RECIPES[name]
    layers = {layer.name for layer in nets.layers(recipe.network)} | {"low2"}
    assert {Step.of(text).layer for text in (*recipe.rates, *recipe.decays)} <= layers


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("conv1=0.1@67", ("conv1", 0.1, 67)),
        ("0.1@2.5", ("", 0.1, 2.5)),
        ("fc8=1e-3", ("fc8", 1e-3, 0)),
        ("1", ("", 1, 0)),
    ],
)
def test_a_step_reads_as_it_is_written(text, step):
    assert Step.of(text) == step


@pytest.mark.parametrize("text", ["", "conv1", "conv1=", "=3", "1@", "-1", "1e", "conv1=0@x"])
def test_what_is_no_step_is_refused(text):
    with pytest.raises(ValueError, match="is no step: write FACTOR@EPOCH"):
        Step.of(text)


@pytest.mark.parametrize(
    ("field", "text", "wanted"),
    [
        ("rates", "0.1@3", "LAYER=FACTOR"),
        ("decays", "0.1", "LAYER=FACTOR"),
        ("steps", "conv1=0.1@3", "FACTOR@EPOCH"),
        ("variations", "tanh", "NAME=VALUE"),
    ],
)
def test_a_step_in_the_wrong_place_is_refused(field, text, wanted):
    with pytest.raises(ValueError, match=f"{field} is {text}; it has to be {wanted}"):
        Recipe(**{field: (text,)})


def test_a_schedule_of_steps_needs_some():
    with pytest.raises(ValueError, match=r"--steps 0.1@25 0.01@51"):
        Recipe(schedule="steps")


def test_a_misspelt_field_is_an_error_that_lists_the_fields():
    with pytest.raises(ValueError, match=r"no learning_rat; it has .*learning_rate"):
        Recipe.from_dict({"learning_rat": 0.1})


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("momentum", 1.0), ("color_noise", -1), ("chunk", 0)]
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
