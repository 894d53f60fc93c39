"""What a training takes of a GPU's memory, counted without one."""

from dataclasses import replace

import pytest
import torch

from alexnet import device as devices
from alexnet.kernels.runtime.backends import find_import_error
from alexnet.recipes.recipe import Recipe
from alexnet.training.loop import new_network
from alexnet.training.memory import (
    MARGIN,
    count_step_memory,
    count_training_memory,
    list_kept_for_backward,
)

PAPER = Recipe()
WEIGHTS = 4 * 60_965_224
MB = 1e6


@pytest.mark.parametrize(
    ("network", "crop", "classes"), [("alexnet", 224, 1000), ("cifar", 32, 10)]
)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_activations_counted_are_those_that_a_real_forward_pass_keeps(
    network, crop, classes, precision
):
    if precision == "bf16" and devices.find_bf16_units() is None:
        pytest.skip("this processor has no bf16 units")
    recipe = replace(PAPER, network=network, crop=crop, batch_size=2, initialization="variance")
    machine = devices.set_up_machine("cpu", precision)
    real = devices.move_to_device(new_network(recipe, classes).train(), machine)
    images = torch.randn(2, 3, crop, crop, dtype=machine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    kept = list_kept_for_backward(real, images, torch.zeros(2, dtype=torch.int64), machine)
    counted = count_training_memory(recipe, classes, precision)
    assert counted.activations == sum(kept)
    assert counted.largest == max(kept)
    assert counted.weights == sum(p.nbytes for p in real.parameters())
    assert counted.images == images.nbytes + 16


@pytest.mark.skipif(find_import_error("numba") != "", reason="the formulas keep more")
def test_the_papers_network_takes_a_few_megabytes_per_image():
    counted = count_training_memory(PAPER, 1000, "float32")
    assert PAPER.batch_size == 128
    assert counted.weights == counted.momenta == counted.gradients == WEIGHTS
    assert 3 * MB < counted.activations / 128 < 5 * MB
    half = count_training_memory(PAPER, 1000, "bf16")
    copies = WEIGHTS / 2 - 2 * 96 * 3 * 11 * 11  # of the weights in bf16, which autocast keeps
    assert 1.5 * MB < (half.activations - copies) / 128 < 2.5 * MB
    assert half.steps < counted.steps
    assert counted.whole == 2 * WEIGHTS + counted.steps


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_the_memory_grows_linearly_with_the_batch(precision):
    one, two, four = (
        count_training_memory(replace(PAPER, batch_size=n), 1000, precision).steps
        for n in (256, 512, 1024)
    )
    assert four - two == 2 * (two - one)
    assert two - one > 256 * 2 * MB
    assert four > MARGIN


def test_no_memory_is_reserved_on_a_cpu():
    cpu, gpu = (devices.Machine(torch.device(name)) for name in ("cpu", "cuda:0"))
    assert count_step_memory(PAPER, 1000, cpu) == 0
    assert (
        count_step_memory(PAPER, 1000, gpu) == count_training_memory(PAPER, 1000, "float32").steps
    )
