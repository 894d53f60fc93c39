"""Compare a kernel with its PyTorch reference: values and gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from alexnet.kernels import references_only


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw random images (N, C, H, W), contiguous. In float64 no two numbers are nearly equal."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def assert_matches_reference(
    operation: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 1e-10
) -> None:
    """Assert that kernel and reference agree: on `operation(x)` and on the gradient of x."""
    x_kernel, x_reference = (x.clone().requires_grad_() for _ in range(2))
    out = operation(x_kernel)
    with references_only():
        expected = operation(x_reference)
    gradient = draw(*expected.shape, seed=1, dtype=x.dtype)
    out.backward(gradient)
    expected.backward(gradient)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(out, expected, check_stride=False, **close)
    torch.testing.assert_close(x_kernel.grad, x_reference.grad, check_stride=False, **close)
