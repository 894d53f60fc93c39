"""Several processes for the tests of `alexnet.parallel`: a function is run in each of them."""

import multiprocessing
import os
from pathlib import Path

import torch
import torch.distributed as dist


class Alone:
    """A world of one process."""

    rank, size = 0, 1

    def all_gather(self, tensor):
        return [tensor]

    def exchange(self, tensors):
        return tensors

    def broadcast(self, value, source):
        return value


class Gloo:
    """The processes of `run_in_processes`."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def all_gather(self, tensor):
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor)
        return parts

    def exchange(self, tensors):
        gathered = [None] * self.size
        dist.all_gather_object(gathered, tensors)
        return [sent[self.rank] for sent in gathered]

    def broadcast(self, value, source):
        value = value.clone()
        dist.broadcast(value, source)
        return value


def run_in_processes(size, function, folder, *arguments):
    """Run `function(world, *arguments)` in `size` processes; return what each returned."""
    if size == 1:
        torch.set_num_threads(1)
        return [function(Alone(), *arguments)]
    context = multiprocessing.get_context("spawn")
    folder = Path(folder)
    started = [
        context.Process(target=_run, args=(rank, size, folder, function, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * size
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _run(rank, size, folder, function, arguments):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    torch.save(function(Gloo(rank, size), *arguments), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
