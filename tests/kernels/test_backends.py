"""Which code runs where; threads, forks, and what happens when something is missing."""

import multiprocessing
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tests.kernels.twins import maps

from alexnet.kernels import crop, norm_pool, relu_pool
from alexnet.kernels.pooling.operator import relu_max
from alexnet.kernels.runtime import backends, cpu_threads
from alexnet.kernels.runtime.cpu_threads import compiled, over_images
from alexnet.kernels.winograd.cpu import write


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def step(_=None):
    """What a training step asks for: a forward and a backward pass."""
    x = maps(8, 12, 9, 9, dtype=torch.float32).requires_grad_()
    y = norm_pool(x, towers=2)
    y.sum().backward()
    return torch.cat([y.flatten(), x.grad.flatten()])


def load(_=None):
    """What a loader asks for."""
    records = np.arange(8 * 8 * 3 * 6, dtype=np.uint64).astype(np.uint8).reshape(6, 8, 8, 3)
    zeros, mean = torch.zeros(6), torch.zeros(8, 8, 3)
    how = {"tops": zeros, "lefts": zeros, "flips": zeros, "shifts": torch.zeros(6, 3)}
    return crop(records, range(6), size=6, side=8, scale=1.0, mean=mean, **how)


def test_several_threads_may_call_at_once(two_threads):
    steps, loads = step(), load()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work) for _ in range(25) for work in (step, load)]
        for future, expected in zip(futures, [steps, loads] * 25, strict=True):
            assert torch.equal(future.result(), expected)


def child(queue):
    torch.set_num_threads(2)
    queue.put(relu_max(maps(4, 3, 5, 5, dtype=torch.float32), 3, 2)[0].sum().item())


@pytest.mark.skipif(sys.platform != "linux", reason="a fork is the way of Linux")
def test_a_fork_starts_threads_of_its_own(two_threads):
    expected = relu_max(maps(4, 3, 5, 5, dtype=torch.float32), 3, 2)[0].sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of what this test is about
        process = context.Process(target=child, args=(queue,))
        process.start()
    process.join(30)
    assert process.exitcode == 0
    assert queue.get() == expected


@pytest.mark.parametrize("images", [0, 1, 2, 7, 64])
def test_every_image_belongs_to_one_slice(images, two_threads):
    seen = []
    over_images(lambda first, last: seen.extend(range(first, last)), images)
    assert sorted(seen) == list(range(images))


def test_an_error_in_a_slice_is_raised(two_threads):
    def fail(first, last):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        over_images(fail, 8)


def test_a_signal_that_gets_lost_in_c_is_raised(two_threads, monkeypatch):
    # its handler raises before the first line of Python that could pass it on
    monkeypatch.setattr(cpu_threads, "_openmp", lambda: lambda callback, *_: None)
    with pytest.raises(KeyboardInterrupt):
        over_images(lambda first, last: None, 8)


def test_a_cached_kernel_depends_on_the_files_of_its_parts():
    names = [name for name, _, _ in write._cache._cache_file._source_stamp]
    assert {"winograd/cpu.py", "runtime/cpu_threads.py"} <= set(names)


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert compiled(lambda x: x + 1)(2) == 3


@pytest.mark.parametrize("operation", [norm_pool, relu_pool])
def test_without_numba_the_formula_runs_and_says_so_once(operation, monkeypatch):
    monkeypatch.setattr(backends, "why_missing", lambda name: f"No module named '{name}'")
    monkeypatch.setattr(backends, "_said", set())
    x = maps(1, 6, 5, 5)
    with pytest.warns(RuntimeWarning, match="numba cannot be imported .No module"):
        slow = operation(x)
    assert torch.equal(slow, operation(x))
    monkeypatch.undo()
    torch.testing.assert_close(slow, operation(x), check_stride=False)


def test_other_devices_use_the_formula():
    assert norm_pool(torch.empty(2, 6, 7, 7, device="meta")).shape == (2, 6, 3, 3)
    assert not backends.has_kernel(torch.device("mps"), torch.float32)


def test_importing_the_kernels_does_not_import_their_compilers():
    code = (
        "import sys, alexnet.kernels; sys.exit('numba' in sys.modules or 'triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
