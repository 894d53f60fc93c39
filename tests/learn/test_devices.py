"""Choosing what to run on."""

import pytest
import torch
from torch import nn

from alexnet import nets
from alexnet.learn import devices
from alexnet.learn.sgd import SGD
from alexnet.learn.step import stepper
from alexnet.nets.layers import Convolution
from alexnet.recipe import Recipe


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=r"sees no GPU\. Use --device cpu"):
        devices.machine("cuda")


def test_a_cpu_computes_in_float32_unless_told_otherwise():
    machine = devices.machine("cpu")
    assert (machine.precision, machine.dtype) == ("float32", torch.float32)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_precision_without_units_is_refused(precision, monkeypatch):
    monkeypatch.setattr(devices, "has_bf16_units", lambda: False)
    with pytest.raises(ValueError, match=f"--precision {precision}: .* Use float32"):
        devices.machine("cpu", precision)


def test_bf16_learns_what_float32_learns():
    if not devices.has_bf16_units():
        pytest.skip("this processor has no bf16 matrix units")
    torch.manual_seed(1)
    labels = torch.arange(32) % 4
    images = torch.randn(32, 3, 32, 32) / 2 + 2 * torch.randn(4, 3, 8, 8).repeat(1, 1, 4, 4)[labels]
    found = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        machine = devices.machine("cpu", precision)
        network = nets.build("cifar", 4)
        network.initialize("variance")
        devices.place(network.train(), machine)
        sgd, step = SGD(network, Recipe()), stepper(network, machine, (32, 3, 32, 32))
        batch = images.to(machine.dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(25):
            loss = step(batch, labels)
            sgd.step(loss, 0.003)
        found[precision] = loss.item()
        assert all(p.dtype == torch.float32 for p in network.parameters())
    assert found["float32"] < 1.0
    assert found["bf16"] == pytest.approx(found["float32"], abs=0.1)


def test_a_compiled_step_learns_the_same(monkeypatch):
    prepared, prepare = [], torch.compile
    monkeypatch.setattr(devices, "check_compiler", lambda device: None)
    monkeypatch.setattr(
        torch, "compile", lambda n: prepared.append(n) or prepare(n, backend="aot_eager")
    )
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    found = []
    for compiled in (False, True):
        machine = devices.machine("cpu", compiled=compiled)
        torch.manual_seed(0)
        wide, narrow = Convolution(3, 64, 3, padding=1), Convolution(64, 64, 3, padding=1)
        network = nn.Sequential(wide, narrow, nn.AvgPool2d(32), nn.Flatten(), nn.Linear(64, 4))
        devices.place(network.train(), machine)
        sgd, step = SGD(network, Recipe()), stepper(network, machine, tuple(images.shape))
        assert (network in prepared) == compiled
        for _ in range(3):
            loss = step(images, labels)
            sgd.step(loss, 0.01)
        found.append(loss.item())
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"--compile needs .* no-such-compiler is not there"):
        devices.machine("cpu", compiled=True)


def test_the_allocator_can_be_left_alone(monkeypatch):
    monkeypatch.setenv("ALEXNET_MALLOC", "default")
    assert not devices.keep_memory()


def test_an_environment_names_the_processor_and_the_versions():
    found = devices.describe(devices.machine("cpu"))
    assert found["torch"] == torch.__version__
    assert found["device_name"]


def test_bf16_is_advised_where_there_are_units_for_it(monkeypatch):
    monkeypatch.setattr(devices, "has_bf16_units", lambda: True)
    assert "--precision bf16" in devices.advice(devices.machine("cpu"))
    assert devices.advice(devices.machine("cpu", "bf16")) is None
    monkeypatch.setattr(devices, "has_bf16_units", lambda: False)
    assert devices.advice(devices.machine("cpu")) is None
