"""Triton kernels run on the CPU, in Triton's interpreter, where there is no GPU."""

import os
from importlib.util import find_spec

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports the CUDA kernels

KERNELS = "backends", "cuda_kernels", "map_norm", "norm", "pooling", "winograd"
"""What is tested here against the CPU's kernels; without Numba there are none to test."""

collect_ignore = [f"test_{name}.py" for name in KERNELS] if find_spec("numba") is None else []
