"""Kernels kept on disk: those of one processor are not those of another."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

KERNEL = """
import json
import numpy as np
from alexnet.images.compilation import compile_loop
from alexnet.images.records import _add_moments, add_moments_reference
kernel = compile_loop(_add_moments, add_moments_reference)
kernel(np.ones((4, 9), np.uint8), np.zeros(9, np.int64))
print(json.dumps([sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())]))
"""


def test_kernels_for_any_processor_live_beside_those_for_this_one(tmp_path):
    def hits_and_misses(**more):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
        environment |= {"NUMBA_CACHE_DIR": str(tmp_path), **more}
        command = [sys.executable, "-c", KERNEL]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout)

    generic = {"NUMBA_CPU_NAME": "generic"}
    assert hits_and_misses() == [0, 1]
    assert hits_and_misses(**generic) == [0, 1]  # native code is not taken
    assert hits_and_misses() == [1, 0]  # nor lost
    assert hits_and_misses(**generic) == [1, 0]
