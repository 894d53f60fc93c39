"""The model of the time of a step: its bytes, its limits, and the published speedups."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from alexnet import nets

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "device_model.py"
SPEC = importlib.util.spec_from_file_location("device_model", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
model = importlib.util.module_from_spec(SPEC)
sys.modules["device_model"] = model
SPEC.loader.exec_module(model)

FAST = model.Machine("fast", 10_000, 50e9)


def test_the_parameters_are_those_of_the_network() -> None:
    with torch.device("meta"):
        network = nets.build("alexnet", 1000)
    sizes = {name: value.numel() for name, value in network.named_parameters()}
    assert sum(sizes.values()) == model.PARAMETERS
    in_convolutions = sum(size for name, size in sizes.items() if name.startswith("conv"))
    assert in_convolutions == model.CONVOLUTIONS


def test_one_device_sends_nothing_and_is_fully_used() -> None:
    for kind in model.KINDS:
        assert model.count_bytes(kind, 1, 128) == 0
        assert model.predict_efficiency(kind, 1, 128, FAST) == 1


def test_bytes_of_two_devices_are_those_of_hand_calculation() -> None:
    assert model.count_bytes("replicas", 2, 256) == 4 * model.PARAMETERS
    assert model.count_bytes("towers", 2, 256) == 256 * 242_688
    assert model.count_bytes("hybrid", 2, 256) == 4 * model.CONVOLUTIONS + 256 * 4 * 17_408


def test_hybrid_sends_less_than_replicas_up_to_about_3400_images() -> None:
    for n in model.COUNTS[1:]:
        assert model.count_bytes("hybrid", n, 3300) < model.count_bytes("replicas", n, 3300)
        assert model.count_bytes("hybrid", n, 3400) > model.count_bytes("replicas", n, 3400)


def test_published_speedups_follow_from_one_gpu_and_the_bus() -> None:
    for n, predicted, published in model.compare_published():
        assert published <= predicted < published * (1.04 if n <= 4 else 1.14)


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="kind is 'ring', but must be one of replicas, towers"):
        model.count_bytes("ring", 2, 128)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    model.draw(tmp_path / "devices.png", [model.make_k20(1), FAST], 128, 1024)
    assert (tmp_path / "devices.png").read_bytes().startswith(b"\x89PNG")
