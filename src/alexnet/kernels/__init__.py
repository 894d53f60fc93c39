"""The operations worth our own code, each beside its formula: Numba on the CPU, Triton on CUDA."""

from alexnet.kernels.backends import formulas_only
from alexnet.kernels.crops import crop
from alexnet.kernels.norm import norm_pool, response_norm
from alexnet.kernels.pooling import relu_pool
from alexnet.kernels.winograd import convolve

__all__ = ["convolve", "crop", "formulas_only", "norm_pool", "relu_pool", "response_norm"]
