"""The operations worth our own code, each beside its formula: Numba on the CPU, Triton on CUDA."""

from alexnet.kernels.cropping.operator import crop
from alexnet.kernels.normalization.operator import norm_pool, response_norm
from alexnet.kernels.pooling.operator import relu_pool
from alexnet.kernels.runtime.backends import references_only
from alexnet.kernels.winograd.operator import convolve

__all__ = ["convolve", "crop", "norm_pool", "references_only", "relu_pool", "response_norm"]
