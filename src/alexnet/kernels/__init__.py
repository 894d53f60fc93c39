"""The operations that PyTorch lacks or computes too slowly: Numba on the CPU, Triton on CUDA.

A folder is an operation:

    winograd/        `convolve`: convolutions of stride 1
    normalization/   `response_norm`, and `norm_pool`, fused with ReLU and max pooling
    within_channel/  response normalization over the pixels of one channel
    pooling/         `relu_pool`: ReLU and pooling in one pass
    cropping/        `crop`: records to network input
    dropout/         `keep_mask`: counter-based random masks
    runtime/         shared by all: choice of backend, memory layout, threads, compilers
    hamming/         `find_nearest_codes`: search in binary codes by Hamming distance
    runtime/         what they share: choice of backend, memory layout, threads, compilers

In each, `operator.py` is the public operator (checks, autograd, choice of backend), `reference.py`
the same in plain PyTorch, and `cpu.py` and `cuda.py` are the kernels, which tests compare with the
reference. Where a kernel cannot run, and within `references_only()`, the reference runs.
docs/kernels.md explains the algorithms.

The networks and `alexnet.batches` call these operators. Importing this folder imports neither Numba
nor Triton, and it imports no other part of `alexnet`.
"""

from alexnet.kernels.cropping.operator import crop
from alexnet.kernels.normalization.operator import norm_pool, response_norm
from alexnet.kernels.pooling.operator import relu_pool
from alexnet.kernels.runtime.backends import references_only
from alexnet.kernels.winograd.operator import convolve

__all__ = ["convolve", "crop", "norm_pool", "references_only", "relu_pool", "response_norm"]
