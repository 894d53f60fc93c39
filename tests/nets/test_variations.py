"""The network of a recipe: its variations, parsed from texts."""

import pytest

from alexnet.nets.variations import network_of, parse_like
from alexnet.recipes.recipe import Recipe


@pytest.mark.parametrize(
    ("example", "text", "value"),
    [
        (True, "no", False),
        (False, "On", True),
        (2, "1", 1),
        ("relu", "tanh", "tanh"),
        ((), "conv3", ("conv3",)),
        ((), "conv3,conv4", ("conv3", "conv4")),
    ],
)
def test_a_text_is_parsed_as_the_type_of_the_default(example, text, value):
    assert parse_like(example, "x", text) == value


@pytest.mark.parametrize(("example", "text"), [(True, "maybe"), (2, "two")])
def test_a_text_of_another_kind_is_refused(example, text):
    with pytest.raises(ValueError, match=f"x is {text}; it has to be"):
        parse_like(example, "x", text)


def test_every_variation_reaches_the_network():
    texts = ("towers=1", "norm=no", "overlap=no", "without=conv4", "unit=tanh")
    network = network_of(Recipe(crop=67, variations=texts), 5)
    assert network.conv1.out_channels == 48
    assert (network.pool1.norm, network.pool1.size, network.pool1.unit) == (False, 2, "tanh")
    assert not hasattr(network.conv4, "weight")


def test_unknown_variations_are_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"alexnet cannot vary color; it can vary unit"):
        network_of(Recipe(variations=("color=red",)), 5)
    with pytest.raises(ValueError, match="unit is 'sigmoid'"):
        network_of(Recipe(crop=67, variations=("unit=sigmoid",)), 5)
