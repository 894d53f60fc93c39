"""A process that adds tensors with others over gloo and is watched: `python -m tests.reducer`.

Rank, size and the place of the meeting come from the environment, as torchrun sets them. After the
first sum it prints `ready` and its process id. It ends after STEPS sums. Rank FAIL, if that is set,
ends with an error, but not if torchrun has started the processes again.
"""

from __future__ import annotations

import os
import sys
import time

import torch

from alexnet.processes import join


def main() -> None:
    """Add until something goes wrong."""
    with join() as world:
        for step in range(int(os.environ.get("STEPS", "100000"))):
            parts = world.all_gather(torch.ones(1000))
            assert sum(part.sum() for part in parts) == 1000 * world.size
            if step == 0:
                sys.stdout.write(f"ready {world.rank} {os.getpid()}\n")
                sys.stdout.flush()
            is_first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
            if step == 10 and is_first and os.environ.get("FAIL") == str(world.rank):
                raise ValueError("step 10 failed")
            time.sleep(0.02)


if __name__ == "__main__":
    main()
