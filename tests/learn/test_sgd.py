"""The update rule: section 5 of the paper, word for word."""

import pytest
import torch
from torch import nn

from alexnet.learn.sgd import SGD
from alexnet.recipe import Recipe

FINE = torch.tensor(1.0)


class OneWeight(nn.Module):
    """A weight and a bias, as small as networks get."""

    def __init__(self, start=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), start, dtype=torch.float64))
        self.bias = nn.Parameter(torch.full((1,), start, dtype=torch.float64))


def step(network, sgd, gradient, rate, loss=FINE):
    for p in network.parameters():
        p.grad = torch.full_like(p, gradient)
    sgd.step(loss, rate)
    return network.weight.item()


def test_the_velocity_keeps_the_rate_it_was_made_with():
    network = OneWeight()
    sgd = SGD(network, Recipe(weight_decay=0.01))
    likelihood_gradients, rates = [1, 0.5, 0.25, -1], [0.1, 0.1, 0.01, 0.01]
    weights = [step(network, sgd, -g, r) for g, r in zip(likelihood_gradients, rates, strict=True)]
    assert weights == pytest.approx([1.099, 1.237001, 1.3635782, 1.467361322], abs=1e-9)


def test_any_sequence_of_rates_gives_the_numbers_of_the_formula():
    network, recipe = OneWeight(), Recipe(weight_decay=0.02)
    sgd = SGD(network, recipe)
    w, v = 1.0, 0.0
    for k in range(1, 40):
        gradient, rate = (-1) ** k / k, 0.3 / (1 + k % 7)
        v = 0.9 * v - 0.02 * rate * w - rate * gradient
        w += v
        assert step(network, sgd, gradient, rate) == pytest.approx(w, rel=1e-12)


def test_weights_decay_and_biases_do_not():
    network = OneWeight()
    step(network, SGD(network, Recipe(weight_decay=0.01)), 0.0, 0.1)
    assert network.weight.item() == pytest.approx(1 - 0.01 * 0.1)
    assert network.bias.item() == 1.0


def test_a_rate_of_zero_touches_nothing():
    network = OneWeight()
    sgd = SGD(network, Recipe())
    step(network, sgd, 1.0, 0.1)
    before = network.weight.item(), sgd.momenta()["weight"].clone()
    step(network, sgd, 5.0, 0.0)
    assert network.weight.item() == before[0]
    assert torch.equal(sgd.momenta()["weight"], before[1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_disables_its_step_and_all_later_ones(bad):
    network = OneWeight()
    sgd = SGD(network, Recipe())
    good = step(network, sgd, 1.0, 0.1)
    assert step(network, sgd, float("nan"), 0.1, loss=torch.tensor(bad)) == good
    assert step(network, sgd, 1.0, 0.1) == good


def test_restored_momenta_go_on_as_if_nothing_had_happened():
    network = OneWeight()
    sgd = SGD(network, Recipe())
    step(network, sgd, 1.0, 0.1)
    copy = OneWeight()
    copy.load_state_dict(network.state_dict())
    again = SGD(copy, Recipe())
    again.restore(sgd.momenta(), sgd.rate)
    assert step(copy, again, 0.5, 0.01) == step(network, sgd, 0.5, 0.01)
