"""Triton kernels equal the CPU kernels, on a GPU or, without one, in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tests.kernels.comparison import draw

from alexnet.kernels.cropping.reference import Crops, crop_reference
from alexnet.kernels.dropout.reference import compute_keep_threshold, keep_mask_reference
from alexnet.kernels.normalization.operator import relu_norm_max, relu_norm_max_backward
from alexnet.kernels.normalization.reference import NormPoolParameters
from alexnet.kernels.pooling.operator import (
    relu_avg,
    relu_avg_backward,
    relu_max,
    relu_max_backward,
)
from alexnet.kernels.runtime.layout import allocate_like, allocate_pooled, to_channels_last

pytest.importorskip("triton", reason="Triton is not installed")

from alexnet.kernels.cropping import cuda as cuda_crop
from alexnet.kernels.dropout import cuda as cuda_dropout
from alexnet.kernels.normalization import cuda as cuda_norm
from alexnet.kernels.pooling import cuda as cuda_pool

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}

NORMS = [  # n, towers, channels, (pool, stride), (height, width)
    (5, 2, 12, (3, 2), (7, 8)),
    (4, 1, 20, (2, 2), (5, 5)),
    (3, 2, 34, (3, 1), (5, 4)),
    (5, 1, 150, (3, 2), (3, 4)),  # octets of a pixel in several programs
    (1, 1, 3, (1, 1), (4, 4)),
    (6, 1, 16, (1, 3), (5, 5)),
]
# channels, (pool, stride), (height, width)
POOLS = [(12, (3, 2), (7, 8)), (20, (2, 2), (5, 5)), (5, (3, 1), (5, 4)), (150, (1, 3), (4, 3))]


def images(*shape, dtype, seed=0):
    return to_channels_last(draw(*shape, seed=seed, dtype=torch.float32).to(dtype).to(DEVICE))


def assert_close(result, expected):
    """Assert that numbers of the size of ten agree, within the rounding of their dtype."""
    tolerance = TOLERANCE[result.dtype]
    result, expected = result.float().cpu(), expected.float()
    torch.testing.assert_close(result, expected, check_stride=False, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("relu", ["first", "last", "none"])
@pytest.mark.parametrize(("n", "towers", "channels", "window", "size"), NORMS)
def test_norms_equal_those_of_the_cpu(n, towers, channels, window, size, relu, dtype):
    x = images(2, channels, *size, dtype=dtype)
    parameters = NormPoolParameters(n, 0.05, 0.75, 2.0, towers, *window, relu)
    expected, expected_argmax = relu_norm_max(x.cpu(), *parameters)
    out, argmax = allocate_pooled(x, *window)
    cuda_norm.forward(x, out, argmax, parameters)
    assert_close(out, expected)
    gradient, result = images(*out.shape, dtype=dtype, seed=1), allocate_like(x, *size)
    cuda_norm.backward(gradient, x, expected_argmax.to(DEVICE), result, parameters)
    cpu = relu_norm_max_backward(gradient.cpu(), x.cpu(), expected_argmax, *parameters)
    assert_close(result, cpu)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("channels", "window", "size"), POOLS)
def test_maxima_equal_those_of_the_cpu(channels, window, size, dtype):
    x = images(2, channels, *size, dtype=dtype)
    out, argmax = allocate_pooled(x, *window)
    cuda_pool.max_forward(x, out, argmax, *window)
    expected, expected_argmax = relu_max(x.cpu(), *window)
    assert torch.equal(out.cpu(), expected)
    assert torch.equal(argmax.cpu(), expected_argmax)
    gradient, result = images(*out.shape, dtype=dtype, seed=1), allocate_like(x, *size)
    cuda_pool.max_backward(gradient, argmax, result, *window)
    assert_close(result, relu_max_backward(gradient.cpu(), expected_argmax, *size, *window))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("relu_first", [True, False])
@pytest.mark.parametrize(("channels", "window", "size"), POOLS)
def test_averages_equal_those_of_the_cpu(channels, window, size, relu_first, dtype):
    x = images(2, channels, *size, dtype=dtype)
    out = allocate_pooled(x, *window)[0]
    cuda_pool.avg_forward(x, out, *window, relu_first)
    expected = relu_avg(x.cpu(), *window, relu_first)
    assert_close(out, expected)
    gradient, result = images(*out.shape, dtype=dtype, seed=1), allocate_like(x, *size)
    kept = x.cpu() if relu_first else expected
    cuda_pool.avg_backward(gradient, kept.to(DEVICE), result, *window, relu_first)
    assert_close(result, relu_avg_backward(gradient.cpu(), kept, *size, *window, relu_first))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("pixels", ["rgb", "yuv420"])
def test_crops_are_those_of_the_formula(pixels, dtype):
    chance = torch.Generator().manual_seed(0)
    shape = (5, 16, 16, 3) if pixels == "rgb" else (5, 384)
    records = torch.randint(256, shape, generator=chance, dtype=torch.uint8).to(DEVICE)
    crops = Crops(
        torch.randint(5, (4,), generator=chance).to(DEVICE),
        torch.randint(6, (4, 4), generator=chance).to(DEVICE),
        torch.tensor([True, False, True, False], device=DEVICE),
        torch.randn(4, 3, generator=chance).to(DEVICE),
        torch.rand(16, 16, 3, generator=chance).to(DEVICE) * 255,
    )
    out = to_channels_last(torch.full((4, 3, 11, 11), 7.0, dtype=dtype, device=DEVICE))
    cuda_crop.crop(records, crops, 0.04, out, pixels)
    assert_close(out, crop_reference(records, crops, 0.04, 11, pixels).cpu())


@pytest.mark.parametrize("p", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 4 * cuda_dropout.GROUPS + 5), (0, 8)])
@pytest.mark.parametrize(
    ("key", "first_row"), [(0, 0), (2**63 - 1, 1), (1234567890123456789, 3 * 2**32 - 2)]
)
def test_masks_of_dropout_are_those_of_the_formula(key, first_row, shape, p):
    draw = torch.tensor([key, first_row], device=DEVICE)
    out = torch.zeros(shape, dtype=torch.bool, device=DEVICE)
    cuda_dropout.fill_keep_mask(draw, out, 6, compute_keep_threshold(p))
    assert torch.equal(out, keep_mask_reference(draw, *shape, 6, compute_keep_threshold(p)))


PAPER = NormPoolParameters(5, 1e-4, 0.75, 2.0, towers=1, pool=3, stride=2, relu="first")


def test_a_nan_comes_out_as_a_nan():
    x = images(1, 8, 5, 5, dtype=torch.float32)
    x[0, 4, 2, 2] = float("nan")
    out, argmax = allocate_pooled(x, 3, 2)
    cuda_norm.forward(x, out, argmax, PAPER)
    assert out[0, 4].isnan().all()
    cuda_pool.max_forward(x, out, argmax, 3, 2)
    assert out[0, 4].isnan().all()


NANS = {
    "one": [(0, 1)],
    "one in the corner of four windows": [(2, 2)],
    "two in a window": [(0, 1), (1, 0)],
    "the last pixel, where windows are clipped": [(5, 5)],
    "two in a clipped window": [(4, 5), (5, 4)],
}


@pytest.mark.parametrize("nans", NANS.values(), ids=NANS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_argmax_is_that_of_pytorch_where_there_are_nans(dtype, nans):
    x = images(1, 8, 6, 6, dtype=dtype)
    for row, column in nans:
        x[0, :, row, column] = float("nan")
    maxima, pixels = F.max_pool2d(x.float(), 3, 2, ceil_mode=True, return_indices=True)
    rows, columns = pixels.cpu() // 6, pixels.cpu() % 6
    corner = torch.arange(3) * 2
    expected = (rows - corner[:, None]) * 3 + columns - corner
    expected[maxima.cpu() <= 0] = 9
    out, argmax = allocate_pooled(x, 3, 2)
    cuda_pool.max_forward(x, out, argmax, 3, 2)
    assert torch.equal(argmax.long().cpu(), expected)
    assert torch.equal(argmax.cpu(), relu_max(x.cpu(), 3, 2)[1])
    if dtype == torch.float32:  # no ReLU, equal channels: the norm moves no maximum
        equal = x[:, :1].expand(-1, 8, -1, -1).abs()
        parameters = NormPoolParameters(1, 0.0, 0.75, 1.0, 1, 3, 2, "none")
        cuda_norm.forward(to_channels_last(equal), out, argmax, parameters)
        assert torch.equal(argmax.cpu(), relu_norm_max(equal.cpu(), *parameters)[1])


def test_an_empty_batch_launches_no_kernel():
    x = images(0, 8, 5, 5, dtype=torch.float32)
    out, argmax = allocate_pooled(x, 3, 2)
    cuda_norm.forward(x, out, argmax, PAPER)
    cuda_pool.max_forward(x, out, argmax, 3, 2)


def test_kernels_compile_for_a_gpu_and_fit_its_registers(tmp_path):
    script = Path(__file__).with_name("compile_for_hopper.py")
    settings = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script], env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    stacks = dict(line.split() for line in done.stdout.splitlines())
    assert len(stacks) == 8
    assert set(stacks.values()) == {"0"}
