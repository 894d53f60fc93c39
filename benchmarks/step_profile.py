"""Where the time of our training step goes, by PyTorch's profiler.

python benchmarks/step_profile.py --batch 64

Of every operator the least of several turns: the profiler takes memory in between, so that in some
turns an operator's results come to lie on pages that are new to the process, which takes longer
than the operator does. Without a profiler that happens in the first steps only.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from interleave import Turn, options
from train_step import ours

SHOWN = 12


def profiled(turn: Turn) -> dict[str, float]:
    """Milliseconds of one turn by operator."""
    kinds = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds) as found:
        turn()
    return {row.key: row.self_cpu_time_total / 1000 for row in found.key_averages()}


def main() -> None:
    args = options(__doc__, batch=64, steps=3, rounds=6).parse_args()
    turn = ours(args.device, args.batch, args.steps)
    turn()
    rounds = [profiled(turn) for _ in range(args.rounds)]
    least = {name: min(found.get(name, 0.0) for found in rounds) for name in rounds[0]}
    total = sum(least.values())
    for name, spent in sorted(least.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{spent / total:6.1%} {spent / args.steps:8.1f} ms  {name[:60]}")


if __name__ == "__main__":
    main()
