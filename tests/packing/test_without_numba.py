"""Where Numba cannot be imported, packs are the same bytes and networks compute the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import pictures

from alexnet.images import compilation, resizing
from alexnet.images import records as pixels
from alexnet.packing.pack import pack

WITHOUT = Path(__file__).parents[1] / "without_numba"
"""A folder whose `sitecustomize.py` makes every import of Numba fail, in child processes too."""


@pytest.fixture
def references(monkeypatch):
    """Pixels computed by NumPy alone."""
    monkeypatch.setattr(compilation, "compile_loop", lambda loop, reference: reference)


@pytest.mark.parametrize("mode", resizing.FITS)
@pytest.mark.parametrize("shape", [(40, 61), (17, 9), (3, 100), (32, 32), (1, 1)])
def test_squares_are_the_same_bytes(shape, mode, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    fast = resizing.fit(image, 16, mode)
    monkeypatch.setattr(compilation, "compile_loop", lambda loop, reference: reference)
    np.testing.assert_array_equal(resizing.fit(image, 16, mode), fast)


def test_records_and_sums_are_the_same_bytes(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (18, 18, 3), np.uint8)
    found = []
    for _ in range(2):
        record = np.empty(pixels.record_shape(18, "yuv420"), np.uint8)
        pixels.write_record(image, "yuv420", record)
        found.append((record, pixels.moments(image)))
        monkeypatch.setattr(compilation, "compile_loop", lambda loop, reference: reference)
    for fast, slow in zip(*found, strict=True):
        np.testing.assert_array_equal(fast, slow)


def test_packs_are_the_same_bytes(tiny_pack, references, tmp_path):
    found = pack(pictures(), tmp_path / "slow.pack", processes=1)
    assert found.checksum == tiny_pack.checksum


LEARN = """
import sys
from pathlib import Path
from alexnet.packs.pack import open_pack
from alexnet.training.train import train
from alexnet.recipes.recipe import Recipe
recipe = Recipe(network="cifar", crop=28, batch_size=16, epochs=1, pixel_scale=1 / 64)
train(open_pack(Path(sys.argv[1])), Path(sys.argv[2]), recipe, device="cpu")
assert sys.modules["numba"] is None
"""


def test_a_training_runs_and_says_what_is_missing(tiny_pack, tmp_path):
    path = os.pathsep.join([str(WITHOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", LEARN, str(tiny_pack.path), str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: numba cannot be imported") == 1
    assert (tmp_path / "run" / "last.safetensors").exists()
