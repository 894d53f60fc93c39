"""The values of a recipe that are written as texts."""

import pytest

from alexnet.recipes.factors import LayerDecay, RateFactor, Variation, make_factors, write_number


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("conv1=0.1@67", RateFactor(0.1, 67, "conv1")),
        ("0.1@2.5", RateFactor(0.1, 2.5)),
        ("fc8=0.001", RateFactor(1e-3, layer="fc8")),
        ("1", RateFactor(1)),
        ("0.00001@79", RateFactor(1e-5, 79)),
    ],
)
def test_a_factor_is_read_from_its_text_and_written_as_the_same_text(text, factor):
    assert RateFactor.parse(text) == factor
    assert str(factor) == text


def test_other_spellings_of_a_number_mean_the_same_factor():
    assert (
        RateFactor.parse("fc8=1e-3") == RateFactor.parse("fc8=.001@0") == RateFactor(1e-3, 0, "fc8")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv1",
        "conv1=",
        "=3",
        "1@",
        "-1",
        "1e",
        "conv1=0@x",
        "1@1.2.3",
        "1e999",
        "1@" + "9" * 400,
    ],
)
def test_a_text_that_is_no_factor_is_refused(text):
    with pytest.raises(ValueError, match="is no factor of a rate: write FACTOR@EPOCH"):
        RateFactor.parse(text)


@pytest.mark.parametrize("numbers", [(-1,), (float("nan"),), (float("inf"),), (1, -1)])
def test_a_factor_that_no_training_can_use_is_refused(numbers):
    with pytest.raises(ValueError, match="has to be 0 or more"):
        RateFactor(*numbers)


def test_a_decay_is_read_from_its_text_and_written_as_the_same_text():
    assert LayerDecay.parse("fc8=0.01") == LayerDecay("fc8", 0.01)
    assert str(LayerDecay("fc4", 3)) == "fc4=3"


def test_an_epoch_of_a_decay_in_an_old_file_has_no_effect():
    assert LayerDecay.parse("fc8=0.01@5") == LayerDecay("fc8", 0.01)


@pytest.mark.parametrize("text", ["0.1", "fc8", "fc8=-1", ""])
def test_a_text_that_is_no_decay_is_refused(text):
    with pytest.raises(ValueError, match="is no decay of a layer: write LAYER=DECAY"):
        LayerDecay.parse(text)


@pytest.mark.parametrize("text", ["unit=tanh", "without=conv3,conv4", "name=a=b"])
def test_a_variation_is_read_from_its_text_and_written_as_the_same_text(text):
    name, value = text.split("=", 1)
    assert Variation.parse(text) == Variation(name, value)
    assert str(Variation(name, value)) == text


@pytest.mark.parametrize("text", ["tanh", "unit=", "=tanh", "unit=a b"])
def test_a_text_that_is_no_variation_is_refused(text):
    with pytest.raises(ValueError, match="is no variation: write NAME=VALUE"):
        Variation.parse(text)


@pytest.mark.parametrize("number", [0.0, 1e-300, 0.1, 1 / 3, 25.0, 72, 1e22, 1.5e300])
def test_a_number_is_written_without_an_exponent_and_reads_as_itself(number):
    assert float(write_number(number)) == number
    assert "e" not in write_number(number)


def test_factors_are_made_from_the_epochs_at_which_they_begin():
    assert make_factors({0: 0.1, 72: 0}, "conv1") == (
        RateFactor(0.1, 0, "conv1"),
        RateFactor(0, 72, "conv1"),
    )
