"""Several processes for the tests of `alexnet.parallel`: a function is run in each of them."""

import multiprocessing
import os
import socket
from pathlib import Path

import torch

from alexnet.processes import ALONE, join


def run_in_processes(size, function, folder, *arguments):
    """Run `function(world, *arguments)` in `size` processes; return what each returned.

    Every process has one thread, as results have the same bits for the same number of threads.
    """
    if size == 1:
        return [run_with_one_thread(function, ALONE, *arguments)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(
            target=_run, args=(rank, size, port, Path(folder), function, arguments), daemon=True
        )
        for rank in range(size)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0] * size
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(size)]


def run_with_one_thread(function, *arguments):
    """Run a function with one thread, as each of several processes has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(*arguments)
    finally:
        torch.set_num_threads(before)


def _run(rank, size, port, folder, function, arguments):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with join() as world:
        torch.save(function(world, *arguments), folder / f"{rank}.pt")
