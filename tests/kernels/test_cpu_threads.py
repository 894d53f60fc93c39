"""Compiling CPU kernels, and running them in threads and after a fork."""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tests.kernels.comparison import draw

from alexnet.kernels import crop, norm_pool
from alexnet.kernels.pooling.cpu import max_forward
from alexnet.kernels.pooling.operator import relu_max
from alexnet.kernels.runtime import cpu_threads
from alexnet.kernels.runtime.cpu_threads import compiled, run_on_batch


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def run_forward_and_backward():
    """What a training step calls."""
    x = draw(8, 12, 9, 9, dtype=torch.float32).requires_grad_()
    y = norm_pool(x, towers=2)
    y.sum().backward()
    return torch.cat([y.flatten(), x.grad.flatten()])


def crop_records():
    """What a loader calls."""
    records = np.arange(8 * 8 * 3 * 6, dtype=np.uint64).astype(np.uint8).reshape(6, 8, 8, 3)
    zeros, mean = torch.zeros(6), torch.zeros(8, 8, 3)
    offsets = {"tops": zeros, "lefts": zeros, "flips": zeros, "shifts": torch.zeros(6, 3)}
    return crop(records, range(6), size=6, side=8, scale=1.0, mean=mean, **offsets)


def test_several_threads_may_call_kernels_at_once(two_threads):
    works = [run_forward_and_backward, crop_records]
    expected = [work() for work in works]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work) for _ in range(25) for work in works]
        for future, result in zip(futures, expected * 25, strict=True):
            assert torch.equal(future.result(), result)


def pool_in_child(queue):
    torch.set_num_threads(2)
    queue.put(relu_max(draw(4, 3, 5, 5, dtype=torch.float32), 3, 2)[0].sum().item())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks processes by default")
def test_kernels_run_in_the_child_of_a_fork(two_threads):
    expected = relu_max(draw(4, 3, 5, 5, dtype=torch.float32), 3, 2)[0].sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks in processes with threads
        process = context.Process(target=pool_in_child, args=(queue,))
        process.start()
    process.join(30)
    assert process.exitcode == 0
    assert queue.get() == expected


@pytest.mark.parametrize("images", [0, 1, 2, 7, 64])
def test_every_image_belongs_to_one_slice(images, two_threads):
    processed = []
    run_on_batch(lambda first, stop: processed.extend(range(first, stop)), images)
    assert sorted(processed) == list(range(images))


def test_an_error_in_a_slice_is_raised(two_threads):
    def fail(first, stop):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_on_batch(fail, 8)


def test_a_keyboard_interrupt_that_c_discards_is_raised_again(two_threads, monkeypatch):
    # Here the function that OpenMP should call never runs, as if the handler of a signal had
    # raised before its first line.
    monkeypatch.setattr(cpu_threads, "_find_openmp", lambda: lambda callback, *_: None)
    with pytest.raises(KeyboardInterrupt):
        run_on_batch(lambda first, stop: None, 8)


def test_a_cached_kernel_depends_on_the_files_that_it_calls_into():
    names = [name for name, _, _ in max_forward._cache._cache_file._source_stamp]
    assert {"pooling/cpu.py", "pooling/cpu_windows.py", "runtime/cpu_threads.py"} <= set(names)


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert compiled(lambda x: x + 1)(2) == 3


CALL_A_KERNEL = """
import json
import numpy as np
from alexnet.kernels.pooling.cpu import max_forward as kernel
images = np.zeros((1, 3, 3, 1), np.float32)
kernel(0, 1, images, images[:, :1, :1].copy(), np.zeros((1, 1, 1, 1), np.uint8), 3, 2)
print(json.dumps([sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())]))
"""


def test_the_cache_keeps_kernels_of_different_processors_apart(tmp_path):
    def count_hits_and_misses(**variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}
        environment |= {"NUMBA_CACHE_DIR": str(tmp_path), **variables}
        command = [sys.executable, "-c", CALL_A_KERNEL]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout)

    generic = {"NUMBA_CPU_NAME": "generic"}
    assert count_hits_and_misses() == [0, 1]
    assert count_hits_and_misses(**generic) == [0, 1]  # native code is not used
    assert count_hits_and_misses() == [1, 0]  # and not lost
    assert count_hits_and_misses(**generic) == [1, 0]
