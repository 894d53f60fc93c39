"""Winograd's method: matrices, every stage against the reference, the whole against F.conv2d."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.comparison import draw

from alexnet.kernels import convolve, references_only
from alexnet.kernels.winograd import reference
from alexnet.kernels.winograd.cook_toom import build_matrices
from alexnet.kernels.winograd.operator import is_faster, winograd, winograd_backward
from alexnet.kernels.winograd.reference import Tiling, convolve_reference

pytest.importorskip("numba")

from alexnet.kernels.winograd import cpu, cpu_tiles, cpu_transforms

# images, channels per group / 16 of input and output, height; the width is 3 more
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(5, 14))
KERNELS, PADDINGS, GROUPS = st.sampled_from([3, 5]), st.integers(0, 3), st.integers(1, 2)


def draw_convolution(shape, kernel, groups):
    """Random images, weights and biases, float64."""
    images, inputs, outputs, side = shape
    outputs *= 16 * groups
    x = draw(images, 16 * groups * inputs, side, side + 3)
    return x, draw(outputs, 16 * inputs, kernel, kernel, seed=2), draw(outputs, seed=3)


def run_forward_and_backward(operation, tensors, dtype, padding, groups):
    """Outputs, and the gradients of `tensors`, of an operation like `winograd`."""
    tensors = [t.to(dtype, copy=True).requires_grad_() for t in tensors]
    out = operation(*tensors, padding, groups)
    out.backward(draw(*out.shape, seed=1).to(dtype))
    return [out.detach(), *(t.grad for t in tensors)]


def convolve_with_pytorch(x, weight, bias, padding, groups):
    return F.conv2d(x, weight, bias, padding=padding, groups=groups)


def assert_close(tensors, expected, tolerance):
    """Compare whole tensors: rounding errors grow with the largest numbers in a sum."""
    for tensor, wanted in zip(tensors, expected, strict=True):
        assert tensor.shape == wanted.shape
        assert (tensor - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_matrices_make_a_one_dimensional_convolution(kernel):
    AT, G, BT = build_matrices(kernel)
    tiles = np.random.default_rng(0).normal(size=(2, len(BT)))
    taps = np.array([1.0, -2.0, 0.5, 3.0, 1.0][:kernel])
    for d in tiles:
        y = AT @ ((G @ taps) * (BT @ d))
        np.testing.assert_allclose(y, np.correlate(d, taps), rtol=1e-12, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SHAPES, KERNELS, PADDINGS, GROUPS)
def test_the_reference_is_the_convolution(shape, kernel, padding, groups):
    tensors = draw_convolution(shape, kernel, groups)
    arguments = tensors, torch.float64, padding, groups
    outcome = run_forward_and_backward(convolve_reference, *arguments)
    assert_close(outcome, run_forward_and_backward(convolve_with_pytorch, *arguments), 1e-12)


@settings(max_examples=20, deadline=None)
@given(SHAPES, KERNELS, PADDINGS, GROUPS)
def test_every_adjoint_of_the_reference_is_the_transposed_map(shape, kernel, padding, groups):
    x, weight, _ = draw_convolution(shape, kernel, groups)
    tiling, images = Tiling.of(x, kernel, padding, groups), len(x)
    U, V = reference.transform_filters(weight, tiling), reference.transform_input(x, tiling)
    products = draw(*V.shape[:2], U.shape[1], seed=4)
    outputs = reference.transform_output(products, images, tiling)

    def assert_adjoint(source, image, adjoint):
        gradient = draw(*image.shape, seed=5)
        forward, back = (image * gradient).sum(), (source * adjoint(gradient)).sum()
        scale = source.norm() * adjoint(gradient).norm()
        assert (forward - back).abs() <= 1e-12 * scale

    assert_adjoint(weight, U, lambda g: reference.transform_filters_adjoint(g, weight, tiling))
    assert_adjoint(x, V, lambda g: reference.transform_input_adjoint(g, x, tiling))
    assert_adjoint(products, outputs, lambda g: reference.transform_output_adjoint(g, tiling))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stage", ["input", "input_adjoint", "output", "output_adjoint"])
def test_each_product_written_out_is_that_with_its_matrix(stage, kernel):
    AT, _, BT = build_matrices(kernel)
    matrices = {"input": BT, "input_adjoint": BT.T, "output": AT, "output_adjoint": AT.T}
    matrix = matrices[stage].astype(np.float32)
    multiply = getattr(cpu_transforms, f"transform_{stage}_{kernel}x{kernel}")
    height, width = matrix.shape
    identity = np.eye(width, dtype=np.float32)[:, :, None] * np.ones(16, np.float32)
    product = np.zeros((width, height, 16), np.float32)
    for j in range(width):
        multiply(identity, product, j, 16)
    for channel in range(16):
        np.testing.assert_array_equal(product[:, :, channel].T, matrix)


class Stages:
    """The stages of one convolution: what the CPU computes and what the reference does."""

    def __init__(self, shape, kernel, padding, groups):
        self.x, self.weight, self.bias = draw_convolution(shape, kernel, groups)
        self.tiling = Tiling.of(self.x, kernel, padding, groups)
        self.U = reference.transform_filters(self.weight, self.tiling)
        self.V = reference.transform_input(self.x, self.tiling)
        self.products = self.V @ self.U.mT
        self.outputs = reference.transform_output(self.products, len(self.x), self.tiling)

    def split_positions(self, planes):
        """(t²·G, T, channels) → (t², G, T, channels), as the kernels see planes."""
        return planes.unflatten(0, (-1, self.tiling.groups))

    def run_to_planes(self, kernel, images, planes):
        """What `kernel` computes from images, in the shape of `planes`."""
        out = torch.full(self.split_positions(planes).shape, torch.nan)
        kernel(0, len(images), to_array(images), out.numpy(), self.tiling)
        return out.flatten(0, 1)

    def run_to_images(self, kernel, planes, images, *biases):
        """What `kernel` computes from planes, in the shape of `images`."""
        out = torch.full(images.movedim(1, 3).shape, torch.nan)
        memory = self.split_positions(planes).float().contiguous().numpy()
        kernel(0, len(images), memory, out.numpy(), self.tiling, *biases)
        return out.movedim(3, 1)


def to_array(images):
    """(N, C, H, W) → the float32 array (N, H, W, C) that a kernel reads."""
    return images.float().movedim(1, 3).contiguous().numpy()


@settings(max_examples=25, deadline=None)
@given(SHAPES, KERNELS, PADDINGS, GROUPS)
def test_every_forward_stage_equals_the_reference(shape, kernel, padding, groups):
    stages = Stages(shape, kernel, padding, groups)
    tiling, biases = stages.tiling, stages.bias.float().numpy()
    U = cpu.transform_filters(stages.weight.float(), tiling)
    V = stages.run_to_planes(cpu_tiles.transform_input, stages.x, stages.V)
    out = stages.run_to_images(cpu_tiles.transform_output, stages.products, stages.outputs, biases)
    expected = stages.U, stages.V, stages.outputs + stages.bias[:, None, None]
    assert_close((U, V, out), expected, 5e-6)


@settings(max_examples=25, deadline=None)
@given(SHAPES, KERNELS, PADDINGS, GROUPS)
def test_every_backward_stage_equals_the_reference(shape, kernel, padding, groups):
    stages = Stages(shape, kernel, padding, groups)
    tiling, x, weight = stages.tiling, stages.x, stages.weight
    gradient = draw(*stages.outputs.shape, seed=1)
    grad_products = reference.transform_output_adjoint(gradient, tiling)
    grad_U, grad_V = grad_products.mT @ stages.V, grad_products @ stages.U
    results = (
        stages.run_to_planes(cpu_tiles.transform_output_adjoint, gradient, grad_products),
        stages.run_to_images(cpu_tiles.transform_input_adjoint, grad_V, x),
        cpu.transform_filters_adjoint(grad_U.float(), weight.float(), tiling),
    )
    expected = (
        grad_products,
        reference.transform_input_adjoint(grad_V, x, tiling),
        reference.transform_filters_adjoint(grad_U, weight, tiling),
    )
    assert_close(results, expected, 5e-6)


@settings(max_examples=60, deadline=None)
@given(SHAPES, KERNELS, PADDINGS, GROUPS, st.booleans())
def test_the_operator_is_the_convolution(shape, kernel, padding, groups, is_channels_last):
    x, weight, bias = draw_convolution(shape, kernel, groups)
    if is_channels_last:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    tensors, arguments = (x, weight, bias), (padding, groups)
    outcome = run_forward_and_backward(winograd, tensors, torch.float32, *arguments)
    exact = run_forward_and_backward(convolve_with_pytorch, tensors, torch.float64, *arguments)
    assert_close(outcome, exact, 2e-5)


def test_large_batches_are_computed_in_slices(monkeypatch):
    tensors = draw(7, 32, 9, 9), draw(16, 32, 3, 3, seed=2), draw(16, seed=3)
    whole = run_forward_and_backward(winograd, tensors, torch.float32, 1, 1)
    counts, slice_batch = [], cpu._slice_batch

    def watch(*arguments):
        for batch in slice_batch(*arguments):
            counts.append(batch.n_images)
            yield batch

    monkeypatch.setattr(cpu, "_slice_batch", watch)
    three_images = 3 * 36 * 9 * (32 + 16) * 4  # images, planes, tiles, channels, bytes
    monkeypatch.setattr(cpu, "WORKSPACE_PER_THREAD", three_images / torch.get_num_threads())
    sliced = run_forward_and_backward(winograd, tensors, torch.float32, 1, 1)
    assert counts == [3, 3, 1] * 2  # forward and backward
    assert_close(sliced, whole, 1e-5)


def test_a_gradient_of_the_input_that_is_not_needed_is_not_computed():
    x, weight, bias = draw(2, 16, 9, 9).float(), draw(16, 16, 3, 3).float(), torch.zeros(16)
    gradient = draw(2, 16, 9, 9, seed=1).float()
    grad_x, grad_weight, _ = winograd_backward(gradient, x, weight, 1, 1, False, True)
    assert grad_x.numel() == 0
    weight.requires_grad_()
    winograd(x, weight, bias, 1, 1).backward(gradient)
    torch.testing.assert_close(weight.grad, grad_weight)


def test_gradients_of_frozen_weights_are_not_computed():
    x, weight = draw(2, 16, 9, 9).float().requires_grad_(), draw(16, 16, 3, 3).float()
    gradient = draw(2, 16, 9, 9, seed=1).float()
    grad_x, *others = winograd_backward(gradient, x, weight, 1, 1, True, False)
    assert [other.numel() for other in others] == [0, 0]
    winograd(x, weight, torch.zeros(16), 1, 1).backward(gradient)
    torch.testing.assert_close(x.grad, grad_x)


def test_the_backward_pass_works_under_autocast():
    x, weight = draw(2, 16, 9, 9).float(), draw(16, 16, 3, 3).float().requires_grad_()
    total = winograd(x, weight, torch.zeros(16), 1, 1).sum()
    with torch.autocast("cpu", torch.bfloat16):
        total.backward()
    assert weight.grad.dtype == torch.float32


def test_gradients_have_the_strides_of_their_weights():
    x = draw(2, 16, 9, 9).float()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        weight = draw(16, 16, 3, 3).float().contiguous(memory_format=memory_format).requires_grad_()
        winograd(x, weight, torch.zeros(16), 1, 1).sum().backward()
        assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize(
    ("shape", "filters", "faster"),
    [
        ((15, 64, 9, 9), (64, 64, 3, 3), True),
        ((32, 64, 9, 9), (64, 64, 5, 5), True),
        ((14, 64, 9, 9), (64, 64, 3, 3), False),
        ((15, 64, 9, 9), (64, 64, 1, 1), False),
        ((15, 64, 9, 9), (64, 64, 3, 5), False),
        ((15, 64, 9, 9), (64, 32, 3, 3), False),
        ((15, 63, 9, 9), (64, 63, 3, 3), False),
        ((15, 72, 9, 9), (64, 72, 3, 3), False),
        ((15, 64, 9, 9), (32, 64, 3, 3), False),
    ],
)
def test_winograd_is_used_where_it_is_faster(shape, filters, faster):
    x, weight, bias = torch.zeros(shape), torch.zeros(filters), torch.zeros(filters[0])
    assert is_faster(x, weight, bias, 1, 1) == faster
    assert not is_faster(x.double(), weight.double(), bias.double(), 1, 1)
    with references_only():
        assert not is_faster(x, weight, bias, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_faster(x, weight, bias, 1, 1)


def test_convolve_leaves_other_convolutions_to_pytorch():
    x, weight = torch.ones(15, 64, 9, 9), torch.ones(64, 64, 3, 3)
    assert convolve(x, weight, None, padding=1).shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(x, weight, torch.zeros(64)).dtype == torch.bfloat16
    assert convolve(torch.ones(64, 99, 99), weight, torch.zeros(64)).shape == (64, 97, 97)
    assert not is_faster(torch.zeros(1, 64, 512, 512), weight, torch.zeros(64), 1, 1)  # memory
    with pytest.raises(RuntimeError, match="expected input"):
        convolve(x, weight[:, :32], torch.zeros(64))
    with pytest.raises(RuntimeError, match="bias"):
        convolve(x, weight, torch.zeros(1))


def test_the_operator_refuses_convolutions_that_it_does_not_support():
    x, weight = torch.zeros(2, 24, 9, 9), torch.zeros(16, 24, 3, 3)
    with pytest.raises(ValueError, match=r"\(2, 24, 9, 9\).* groups=1: it needs .* `convolve`"):
        winograd(x, weight, torch.zeros(16), 1, 1)


def test_a_filter_larger_than_the_image_is_left_to_pytorch():
    with pytest.raises(RuntimeError, match="Kernel size"):
        convolve(torch.zeros(8, 64, 2, 2), torch.zeros(64, 64, 5, 5), torch.zeros(64))


def test_a_nan_stays_visible_and_within_its_image():
    x = draw(3, 16, 9, 9).float()
    x[1, 3, 4, 4] = float("nan")
    out = winograd(x, draw(16, 16, 3, 3).float(), torch.zeros(16), 1, 1)
    assert out[1].isnan().any()
    assert not out[[0, 2]].isnan().any()


def test_the_operator_passes_opcheck():
    x, weight = draw(2, 16, 7, 7).float().requires_grad_(), draw(16, 16, 3, 3).float()
    torch.library.opcheck(winograd, (x, weight.requires_grad_(), torch.zeros(16), 1, 1))
