"""Without a GPU, Triton kernels run on the CPU in Triton's interpreter."""

import os
from importlib.util import find_spec

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports the CUDA kernels

NEED_NUMBA = (
    "backends",
    "cpu_intrinsics",
    "cpu_threads",
    "cuda_kernels",
    "normalization",
    "pooling",
    "winograd",
    "within_channel",
)
"""Tests that compare something with the CPU kernels, which do not exist without Numba."""

collect_ignore = [] if find_spec("numba") else [f"test_{name}.py" for name in NEED_NUMBA]
