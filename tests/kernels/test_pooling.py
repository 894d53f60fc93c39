"""ReLU and pooling: the kernels against the formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.comparison import assert_matches_reference, draw

from alexnet.kernels import relu_pool
from alexnet.kernels.pooling.operator import relu_avg, relu_max, relu_pool_formula, relu_pool_kernel
from alexnet.kernels.runtime.backends import has_kernel


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kind": "min"}, "kind is 'min'"),
        ({"order": "pool"}, "order is 'pool'"),
        ({"pool": 9}, "no 9×9 window"),
    ],
)
def test_what_cannot_be_pooled_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        relu_pool(torch.zeros(1, 1, 6, 6), **how)


def either(x, **how):
    """The kernel, even where PyTorch is chosen; within references_only, the reference."""
    chosen = relu_pool_kernel if has_kernel(x.device, x.dtype) else relu_pool_formula
    return chosen(x, **how)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(0, 3), st.integers(1, 20), st.integers(4, 9), st.integers(4, 9)),
    st.fixed_dictionaries(
        {
            "pool": st.integers(1, 4),
            "stride": st.integers(1, 4),
            "kind": st.sampled_from(["max", "avg"]),
            "order": st.sampled_from(["relu-pool", "pool-relu"]),
        }
    ),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_the_kernels_give_what_the_formula_gives(shape, how, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert_matches_reference(lambda x: either(x, **how), draw(*shape, dtype=dtype), tolerance)
    assert_matches_reference(lambda x: relu_pool(x, **how), draw(*shape, dtype=dtype), tolerance)


@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_gradients_are_those_of_finite_differences(kind, order):
    x = draw(1, 3, 5, 4).requires_grad_()
    how = {"pool": 3, "stride": 2, "kind": kind, "order": order}
    assert torch.autograd.gradcheck(lambda x: relu_pool_kernel(x, **how), x)


def test_pytorch_accepts_the_operators():
    x = draw(2, 3, 7, 7, dtype=torch.float32).requires_grad_()
    torch.library.opcheck(relu_max, (x, 3, 2))
    for relu_first in (True, False):
        torch.library.opcheck(relu_avg, (x, 3, 2, relu_first))
