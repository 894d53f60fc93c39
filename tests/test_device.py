"""The device is chosen, set up for speed and for repeatable results, and described."""

import json

import pytest
import torch
from torch import nn

from alexnet import device as devices
from alexnet import nets
from alexnet.nets.layers import Convolution
from alexnet.recipes.recipe import Recipe
from alexnet.training.sgd import SGD
from alexnet.training.step import make_step


def test_a_gpu_is_refused_on_a_machine_without_one():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=r"sees no GPU\. Use --device cpu"):
        devices.set_up_machine("cuda")


def test_a_cpu_computes_in_float32_unless_told_otherwise():
    machine = devices.set_up_machine("cpu")
    assert (machine.precision, machine.dtype) == ("float32", torch.float32)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_precision_without_hardware_support_is_refused(precision, monkeypatch):
    monkeypatch.setattr(devices, "find_bf16_units", lambda: None)
    with pytest.raises(ValueError, match=f"--precision {precision}: .* Use float32"):
        devices.set_up_machine("cpu", precision)


def test_bf16_learns_what_float32_learns():
    if devices.find_bf16_units() is None:
        pytest.skip("this processor has no bf16 units")
    torch.manual_seed(1)
    labels = torch.arange(32) % 4
    images = torch.randn(32, 3, 32, 32) / 2 + 2 * torch.randn(4, 3, 8, 8).repeat(1, 1, 4, 4)[labels]
    found = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        machine = devices.set_up_machine("cpu", precision)
        network = nets.build("cifar", 4, dropout=0.0)
        network.initialize("variance")
        devices.move_to_device(network.train(), machine)
        sgd, step = SGD(network, Recipe()), make_step(network, machine, (32, 3, 32, 32))
        batch = images.to(machine.dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(25):
            loss = step(batch, labels)
            sgd.step(loss, 0.001)
        found[precision] = loss.item()
        assert all(p.dtype == torch.float32 for p in network.parameters())
    assert found["float32"] < 1.0
    assert found["bf16"] == pytest.approx(found["float32"], abs=0.1)


def test_a_compiled_step_learns_the_same(monkeypatch):
    compiled_networks, compile_network = [], torch.compile
    monkeypatch.setattr(devices, "check_compiler", lambda device: None)
    monkeypatch.setattr(
        torch,
        "compile",
        lambda n: compiled_networks.append(n) or compile_network(n, backend="aot_eager"),
    )
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    found = []
    for compiled in (False, True):
        machine = devices.set_up_machine("cpu", compiled=compiled)
        torch.manual_seed(0)
        wide, narrow = Convolution(3, 64, 3, padding=1), Convolution(64, 64, 3, padding=1)
        network = nn.Sequential(wide, narrow, nn.AvgPool2d(32), nn.Flatten(), nn.Linear(64, 4))
        devices.move_to_device(network.train(), machine)
        sgd, step = SGD(network, Recipe()), make_step(network, machine, tuple(images.shape))
        assert (network in compiled_networks) == compiled
        for _ in range(3):
            loss = step(images, labels)
            sgd.step(loss, 0.01)
        found.append(loss.item())
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"--compile needs .* no-such-compiler is not there"):
        devices.set_up_machine("cpu", compiled=True)


def test_the_allocator_can_be_left_alone(monkeypatch):
    monkeypatch.setenv("ALEXNET_MALLOC", "default")
    assert not devices.keep_memory()


def test_an_environment_names_the_processor_and_the_versions():
    found = devices.describe_machine(devices.set_up_machine("cpu"))
    assert found["torch"] == torch.__version__
    assert found["device_name"]
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["mkl"] == devices.read_mkl_mode()


def test_an_environment_records_the_variables_that_are_set(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    settings = devices.describe_machine(devices.set_up_machine("cpu"))["settings"]
    assert settings["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert settings["MKL_CBWR"]
    assert "NUMBA_CPU_NAME" not in settings


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ("AMX", "more than twice as fast"),
        ("AVX512-BF16", "about 1.9 times as fast,"),
        ("Arm BF16", "may train"),
    ],
)
def test_bf16_is_suggested_on_processors_that_support_it(units, words, monkeypatch):
    monkeypatch.setattr(devices, "find_bf16_units", lambda: units)
    hint = devices.suggest_bf16(devices.set_up_machine("cpu"))
    assert f"({units}): --precision bf16" in hint
    assert words in hint
    assert devices.suggest_bf16(devices.set_up_machine("cpu", "bf16")) is None
    monkeypatch.setattr(devices, "find_bf16_units", lambda: None)
    assert devices.suggest_bf16(devices.set_up_machine("cpu")) is None


def test_a_warning_is_given_if_mkl_may_not_repeat_results(monkeypatch):
    monkeypatch.setattr(devices, "read_mkl_mode", lambda: "OFF")
    assert "MKL_CBWR to AUTO,STRICT" in devices.explain_unrepeatable(devices.set_up_machine("cpu"))
    for mode in ("AUTO,STRICT", "AVX2", None):
        monkeypatch.setattr(devices, "read_mkl_mode", lambda mode=mode: mode)
        assert devices.explain_unrepeatable(devices.set_up_machine("cpu")) is None


def test_changes_since_an_earlier_environment_are_named(monkeypatch):
    machine = devices.set_up_machine("cpu")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    before = json.loads(json.dumps({**devices.describe_machine(machine), "pack": {"path": "p"}}))
    assert devices.explain_changes(before, machine) is None
    threads = torch.get_num_threads()
    changed = devices.explain_changes({**before, "threads": 99}, machine)
    assert f"Not as before: threads 99 → {threads}. The" in changed
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "ONEDNN_MAX_CPU_ISA not set → AVX2" in devices.explain_changes(before, machine)


@pytest.mark.parametrize("before", [{}, {"device": "cpu"}, {"settings": 3}])
def test_facts_that_an_old_environment_lacks_count_as_unchanged(before):
    assert devices.explain_changes(before, devices.set_up_machine("cpu")) is None


def test_an_environment_with_values_of_wrong_types_is_still_compared():
    before = {"threads": 99, "settings": 3}
    assert "threads 99" in devices.explain_changes(before, devices.set_up_machine("cpu"))
