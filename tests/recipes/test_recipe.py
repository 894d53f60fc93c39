"""A training described whole: its values, its file and its errors."""

import json

import pytest

from alexnet.recipes.factors import LayerDecay, RateFactor, Variation
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_file(name):
    text = json.dumps(RECIPES[name].to_dict())
    assert Recipe.from_dict(json.loads(text)) == RECIPES[name]


def test_a_recipe_from_before_a_field_was_added_means_what_it_meant():
    assert Recipe.from_dict({"epochs": 3}) == Recipe(epochs=3)


def test_texts_become_values_when_a_recipe_is_made():
    recipe = Recipe(
        variations=["unit=tanh"],
        decays=("fc8=0.01",),
        schedule="steps",
        steps=("0.1@25", RateFactor(0.01, 51)),
        rates=("conv1=0@72",),
        bias_steps=("1",),
    )
    assert recipe.variations == (Variation("unit", "tanh"),)
    assert recipe.decays == (LayerDecay("fc8", 0.01),)
    assert recipe.steps == (RateFactor(0.1, 25), RateFactor(0.01, 51))
    assert recipe.rates == (RateFactor(0, 72, "conv1"),)
    assert recipe.bias_steps == (RateFactor(1),)


def test_values_are_written_as_texts():
    fields = Recipe(rates=("conv1=0.1", "conv1=0@72"), variations=("norm=no",)).to_dict()
    assert fields["rates"] == ("conv1=0.1", "conv1=0@72")
    assert fields["variations"] == ("norm=no",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rates": ["conv1"]}, r"recipe.rates\[0\]: 'conv1' is no factor of a rate"),
        ({"rates": [0.1]}, r"recipe.rates\[0\] is 0.1, not a text"),
        ({"rates": "conv1=0"}, "recipe.rates is .*, not a list"),
        ({"steps": [{"factor": 1.0}]}, r"recipe.steps\[0\] is an object of 1, not a text"),
    ],
)
def test_a_file_with_something_else_than_texts_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe.from_dict(fields)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rates", "0.1@3", "rates is 0.1@3; it has to be LAYER=FACTOR"),
        ("decays", "0.1", "decays: '0.1' is no decay of a layer: write LAYER=DECAY"),
        ("steps", "conv1=0.1@3", "steps is conv1=0.1@3; it has to be FACTOR@EPOCH"),
        ("steps", 0.1, "steps is 0.1; it has to be a text or a RateFactor"),
        ("variations", "tanh", "variations: 'tanh' is no variation: write NAME=VALUE"),
    ],
)
def test_a_value_in_the_wrong_field_is_refused_by_name(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: (value,)})


def test_a_schedule_of_steps_needs_factors():
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


def test_two_recipes_differ_in_the_fields_that_are_written_differently():
    differences = Recipe(epochs=3, variations=("towers=1",)).differences(Recipe())
    assert differences == {"epochs": (3, 90), "variations": (("towers=1",), ())}
