"""The trainings of the 2012 code as recipes; tests/training/test_schedule.py has their rates."""

import pytest

from alexnet.recipes.lab_notes import FROM_TRAINED, TRAININGS
from alexnet.recipes.named import RECIPES


def test_the_recipe_of_net_145_is_written_as_it_always_was():
    fields = RECIPES["original-145"].to_dict()
    assert fields["steps"] == ("0.1@25", "0.01@51", "0.001@79")
    assert fields["rates"] == ("conv1=0.1@67", "conv1=0@72")
    assert (fields["bias_steps"], fields["bias_rate"]) == (("1",), 2.0)
    assert (fields["noise_until"], fields["epochs"]) == (67, 91)


def test_layers_that_stop_early_are_lowered_together_and_stopped_together():
    assert RECIPES["original-120"].to_dict()["rates"] == (
        *("conv1=0.1@66", "conv2=0.1@66", "low2=0.1@66"),
        *("conv1=0@73", "conv2=0@73", "low2=0@73"),
    )


@pytest.mark.parametrize("name", FROM_TRAINED)
def test_trainings_that_begin_with_trained_weights_never_lower_the_rate_of_biases(name):
    assert TRAININGS[name].to_dict()["bias_steps"] == ("1",)
