"""The optimizer against the update rule of section 5, computed by hand."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from alexnet.recipes.recipe import Recipe
from alexnet.training.schedule import Rates
from alexnet.training.sgd import SGD

FINE = torch.tensor(1.0)


class OneWeight(nn.Module):
    """A network of one weight and one bias."""

    def __init__(self, start=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), start, dtype=torch.float64))
        self.bias = nn.Parameter(torch.full((1,), start, dtype=torch.float64))


def step(network, sgd, gradient, rate, loss=FINE):
    for p in network.parameters():
        p.grad = torch.full_like(p, gradient)
    sgd.step(loss, rate)
    return network.weight.item()


def test_the_velocity_keeps_the_rate_of_the_step_that_made_it():
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


def test_a_rate_of_zero_changes_neither_weights_nor_momenta():
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


def test_restored_momenta_continue_exactly():
    network = OneWeight()
    sgd = SGD(network, Recipe())
    step(network, sgd, 1.0, 0.1)
    copy = OneWeight()
    copy.load_state_dict(network.state_dict())
    again = SGD(copy, Recipe())
    again.restore(sgd.momenta(), sgd.rate, sgd.rates)
    assert step(copy, again, 0.5, 0.01) == step(network, sgd, 0.5, 0.01)


def two_layers():
    return nn.Sequential(OrderedDict(conv1=OneWeight(), fc8=OneWeight()))


def step_all(network, sgd, gradient, rates):
    for p in network.parameters():
        p.grad = torch.full_like(p, gradient) if p.requires_grad else None
    sgd.step(FINE, rates)
    return {name: p.item() for name, p in network.named_parameters()}


def test_every_group_follows_the_formula_at_its_own_rate():
    recipe = Recipe(rates=("conv1=0.5",), weight_decay=0.02, decays=("fc8=0.3",))
    network = two_layers()
    sgd = SGD(network, recipe)
    expected = dict.fromkeys(dict(network.named_parameters()), (1.0, 0.0))
    for k in range(1, 30):
        now = Rates(0.1 / (1 + k % 3), 0.2 / (1 + k % 4), {"conv1": 0.5 if k % 5 else 0.0})
        weights = step_all(network, sgd, (-1) ** k / k, now)
        for name, (w, v) in expected.items():
            layer, kind = name.split(".")
            rate, decay = now.of(layer, kind == "bias"), {"conv1": 0.02, "fc8": 0.3}[layer]
            if rate:
                v = 0.9 * v - decay * (kind == "weight") * rate * w - rate * (-1) ** k / k
                w += v
            expected[name] = w, v
            assert weights[name] == pytest.approx(w, rel=1e-12)


def test_a_frozen_layer_has_no_gradient_no_decay_and_no_momentum():
    network = two_layers()
    sgd = SGD(network, Recipe(rates=("conv1=0",), weight_decay=0.1))
    frozen, moving = Rates(0.1, 0.1, {"conv1": 0.0}), Rates(0.1, 0.1, {"conv1": 1.0})
    step_all(network, sgd, 1.0, moving)
    assert sgd.freeze(frozen, frozen)
    assert not sgd.freeze(frozen)
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]
    before = dict(network.named_parameters())["conv1.weight"].item()
    momentum = sgd.momenta()["conv1.weight"].clone()
    assert step_all(network, sgd, 1.0, frozen)["conv1.weight"] == before
    assert torch.equal(sgd.momenta()["conv1.weight"], momentum)
    assert sgd.freeze(frozen, moving)


def test_a_network_with_every_layer_frozen_is_an_error():
    network = two_layers()
    sgd = SGD(network, Recipe(rates=("conv1=0", "fc8=0")))
    with pytest.raises(ValueError, match="every layer is frozen"):
        sgd.freeze(Rates(0.1, 0.1, {"conv1": 0.0, "fc8": 0.0}))


def test_a_rate_for_a_layer_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match=r"no layer conv9 .* it has conv1, fc8"):
        SGD(two_layers(), Recipe(rates=("conv9=0.1",)))


def test_biases_decay_if_the_recipe_says_so():
    network = two_layers()
    weights = step_all(network, SGD(network, Recipe(weight_decay=0.1, decay_biases=True)), 0.0, 0.1)
    assert set(weights.values()) == {1 - 0.1 * 0.1}


def test_restored_groups_remember_their_own_last_rates():
    recipe, networks = Recipe(rates=("conv1=0.1",)), [two_layers(), two_layers()]
    one, other = (SGD(network, recipe) for network in networks)
    step_all(networks[0], one, 1.0, Rates(0.1, 0.2, {"conv1": 0.1}))
    networks[1].load_state_dict(networks[0].state_dict())
    other.restore(one.momenta(), one.rate, one.rates)
    later = Rates(0.01, 0.2, {"conv1": 0.7})
    assert step_all(networks[0], one, 0.5, later) == step_all(networks[1], other, 0.5, later)
