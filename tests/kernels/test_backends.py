"""Which implementation of an operation runs, on which device, with or without its compiler."""

import subprocess
import sys

import pytest
import torch
from tests.kernels.comparison import draw

from alexnet.kernels import norm_pool, references_only, relu_pool
from alexnet.kernels.runtime import backends
from alexnet.kernels.runtime.backends import has_kernel


@pytest.mark.parametrize("operation", [norm_pool, relu_pool])
def test_without_numba_the_reference_runs_and_one_warning_is_given(operation, monkeypatch):
    monkeypatch.setattr(backends, "find_import_error", lambda name: f"No module named '{name}'")
    monkeypatch.setattr(backends, "_warned", set())
    x = draw(1, 6, 5, 5)
    with pytest.warns(RuntimeWarning, match="numba cannot be imported .No module"):
        slow = operation(x)
    assert torch.equal(slow, operation(x))
    monkeypatch.undo()
    torch.testing.assert_close(slow, operation(x), check_stride=False)


def test_devices_without_a_kernel_use_the_reference():
    assert norm_pool(torch.empty(2, 6, 7, 7, device="meta")).shape == (2, 6, 3, 3)
    assert not has_kernel(torch.device("mps"), torch.float32)
    assert not has_kernel(torch.device("cuda"), torch.float64)


def test_references_only_holds_until_its_end_and_may_be_nested():
    cpu = torch.device("cpu")
    with references_only():
        with references_only():
            assert not has_kernel(cpu, torch.float32)
        assert not has_kernel(cpu, torch.float32)
    assert has_kernel(cpu, torch.float32)


def test_importing_the_kernels_does_not_import_their_compilers():
    code = (
        "import sys, alexnet.kernels; sys.exit('numba' in sys.modules or 'triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
