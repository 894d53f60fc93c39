"""Time of our training step by operator, measured with PyTorch's profiler.

python benchmarks/step_profile.py --batch 64

Compares nothing; shows which operators take the time. For every operator it prints the minimum over
several turns: the profiler allocates memory in between, so that in some turns an operator's output
lands on newly allocated pages, whose page faults take longer than the operator itself. Without a
profiler that happens in the first steps only.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from interleave import Turn, options
from train_step import ours

SHOWN = 12


def profile_turn(turn: Turn) -> dict[str, float]:
    """Return the milliseconds of one turn by operator."""
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
    rounds = [profile_turn(turn) for _ in range(args.rounds)]
    least = {name: min(found.get(name, 0.0) for found in rounds) for name in rounds[0]}
    total = sum(least.values())
    for name, spent in sorted(least.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{spent / total:6.1%} {spent / args.steps:8.1f} ms  {name[:60]}")


if __name__ == "__main__":
    main()
