"""A process that adds tensors with others over gloo and is watched: `python -m tests.reducer`.

Rank, size and the place of the meeting come from the environment, as torchrun sets them. After the
first sum it prints `ready` and its process id; rank FAIL, if that is set, ends with an error then.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import torch
import torch.distributed as dist

from alexnet.heartbeats import start_watch


def main() -> None:
    """Add until something goes wrong."""
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()

    def gather(value: dict[str, Any]) -> list[dict[str, Any]]:
        values: list[Any] = [None] * size
        dist.all_gather_object(values, value)
        return values

    watch = start_watch(rank, size, gather, os.environ["MASTER_ADDR"])
    assert watch is not None
    for step in range(100_000):
        tensor = torch.ones(1000)
        try:
            dist.all_reduce(tensor)
        except RuntimeError as error:
            watch.explain(error)
        assert tensor.sum() == 1000 * size
        if step == 0:
            sys.stdout.write(f"ready {rank} {os.getpid()}\n")
            sys.stdout.flush()
        if step == 10 and os.environ.get("FAIL") == str(rank):
            watch.leave("step 10 failed")
            raise ValueError("step 10 failed")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
