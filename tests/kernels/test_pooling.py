"""ReLU and pooling: the kernels equal the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.comparison import assert_matches_reference, draw

from alexnet.kernels import relu_pool
from alexnet.kernels.pooling.operator import relu_avg, relu_max, run_kernel
from alexnet.kernels.pooling.reference import relu_pool_reference
from alexnet.kernels.runtime.backends import has_kernel


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "min"}, "kind must be 'max' or 'avg', got 'min'"),
        ({"order": "pool"}, "order must be .* got 'pool'"),
        ({"pool": 9}, "no 9×9 window"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        relu_pool(torch.zeros(1, 1, 6, 6), **options)


def pool_by_kernel(x, **options):
    """Run the kernel even where PyTorch is faster; within `references_only`, the reference."""
    pool = run_kernel if has_kernel(x.device, x.dtype) else relu_pool_reference
    return pool(x, **options)


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
def test_the_kernels_equal_the_reference(shape, options, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert_matches_reference(
        lambda x: pool_by_kernel(x, **options), draw(*shape, dtype=dtype), tolerance
    )
    assert_matches_reference(
        lambda x: relu_pool(x, **options), draw(*shape, dtype=dtype), tolerance
    )


@pytest.mark.parametrize("order", ["relu-pool", "pool-relu"])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_gradients_equal_finite_differences(kind, order):
    x = draw(1, 3, 5, 4).requires_grad_()
    options = {"pool": 3, "stride": 2, "kind": kind, "order": order}
    assert torch.autograd.gradcheck(lambda x: run_kernel(x, **options), x)


def test_the_operators_pass_the_checks_of_pytorch():
    x = draw(2, 3, 7, 7, dtype=torch.float32).requires_grad_()
    torch.library.opcheck(relu_max, (x, 3, 2))
    for relu_first in (True, False):
        torch.library.opcheck(relu_avg, (x, 3, 2, relu_first))
