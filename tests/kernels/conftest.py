"""Triton kernels run on the CPU, in Triton's interpreter, where there is no GPU."""

import os
from importlib.util import find_spec

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports the CUDA kernels

KERNELS = "backends", "cuda_kernels", "normalization", "pooling", "winograd", "within_channel"
"""What is tested here against the CPU's kernels; without Numba there are none to test."""

collect_ignore = [] if find_spec("numba") else [f"test_{name}.py" for name in KERNELS]
