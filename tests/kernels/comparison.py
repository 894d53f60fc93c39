"""Compare a fast operation with its formula: values and gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from alexnet.kernels import references_only


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random maps N C H W, in PyTorch's plain layout; in float64 no two are nearly equal."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def assert_matches_reference(
    operation: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 1e-10
) -> None:
    """The operation and its formula agree on the values of x and on the gradient."""
    fast, slow = (x.clone().requires_grad_() for _ in range(2))
    out = operation(fast)
    with references_only():
        expected = operation(slow)
    gradient = draw(*expected.shape, seed=1, dtype=x.dtype)
    out.backward(gradient)
    expected.backward(gradient)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(out, expected, check_stride=False, **close)
    torch.testing.assert_close(fast.grad, slow.grad, check_stride=False, **close)
