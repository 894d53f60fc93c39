"""The model of the time of a step: its bytes, its limits, and the published speedups."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "device_model.py"
SPEC = importlib.util.spec_from_file_location("device_model", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
model = importlib.util.module_from_spec(SPEC)
sys.modules["device_model"] = model
SPEC.loader.exec_module(model)

FAST = model.Machine("fast", 10_000, 50e9)


def test_one_device_sends_nothing_and_is_fully_used() -> None:
    for kind in model.KINDS:
        assert model.count_bytes(kind, 1, 128) == 0
        assert model.predict_efficiency(kind, 1, 128, FAST) == 1


def test_bytes_of_two_devices_are_those_of_hand_calculation() -> None:
    parameters, convolutions = 60_965_224, 2_334_080
    assert model.count_bytes("replicas", 2, 256) == 4 * parameters
    assert model.count_bytes("towers", 2, 256) == 256 * 230_304
    values = 256 * (106_504 / 2 + 4_000)
    assert model.count_bytes("hybrid", 2, 256) == 4 * convolutions + values


def test_pairs_of_towers_send_half_of_the_weights_to_other_pairs() -> None:
    assert model.count_bytes("towers", 4, 512) == 256 * 230_304 + 2 * 60_965_224


@pytest.mark.parametrize(("n", "batch"), [(2, 4100), (8, 3400), (64, 1300)])
def test_hybrid_sends_less_than_replicas_up_to_some_batch(n: int, batch: int) -> None:
    less, more = batch - 50, batch + 50
    assert model.count_bytes("hybrid", n, less) < model.count_bytes("replicas", n, less)
    assert model.count_bytes("hybrid", n, more) > model.count_bytes("replicas", n, more)


def test_published_speedups_follow_from_one_gpu_and_the_bus() -> None:
    for n, predicted, published in model.compare_published():
        assert published <= predicted < published * (1.04 if n <= 4 else 1.14)


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="kind is 'ring', but must be one of replicas, towers"):
        model.count_bytes("ring", 2, 128)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    model.draw(tmp_path / "devices.png", [model.make_k20(1), FAST], 128, 1024)
    assert (tmp_path / "devices.png").read_bytes().startswith(b"\x89PNG")
