"""Where the time of our training step goes, by PyTorch's profiler.

python benchmarks/step_profile.py --batch 64
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from interleave import options
from train_step import ours


def main() -> None:
    args = options(__doc__, batch=64, steps=3).parse_args()
    turn = ours(args.device, args.batch, args.steps)
    turn()
    kinds = [ProfilerActivity.CPU]
    if torch.cuda.is_available() and args.device != "cpu":
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds) as found:
        turn()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    for row in rows[:12]:
        share = row.self_cpu_time_total / total
        print(f"{share:6.1%} {row.self_cpu_time_total / 1000 / args.steps:8.1f} ms  {row.key[:60]}")


if __name__ == "__main__":
    main()
