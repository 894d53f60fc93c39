"""Bits, bf16 and vectors in CPU kernels, compared with NumPy and PyTorch."""

import numpy as np
import torch

from alexnet.kernels.runtime.cpu_intrinsics import (
    as_float,
    as_integer,
    bf16_to_float32,
    cast_like,
    copy_vector,
    count_ones,
)
from alexnet.kernels.runtime.cpu_threads import inlined
from alexnet.kernels.runtime.layout import VECTOR


@inlined
def cast_all(values, out):
    for i in range(values.size):
        out[i] = cast_like(values[i], out)


@inlined
def widen_all(values, out):
    for i in range(values.size):
        out[i] = bf16_to_float32(values[i])


@inlined
def add_to_bits(values, out):
    for i in range(values.size):
        out[i] = as_float(as_integer(values[i]) + np.int32(1))


@inlined
def copy_three_to_two(source, out):
    copy_vector(out, 2, source, 3)


@inlined
def count_all(words, out):
    for i in range(words.size):
        out[i] = count_ones(words[i])


def test_the_ones_of_a_word_are_counted():
    words = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    words[:2] = 0, 2**64 - 1
    out = np.empty(words.size, np.uint8)
    count_all(words, out)
    np.testing.assert_array_equal(out, np.bitwise_count(words))


def test_float32_is_rounded_to_bf16_as_in_pytorch():
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    ties = np.arange(0x3F800000, 0x3F900000, 0x8000, dtype=np.uint32)
    values = np.concatenate([bits, ties]).view(np.float32)
    out = np.empty(values.size, np.uint16)
    cast_all(values, out)
    rounded = torch.from_numpy(out.view(np.int16)).view(torch.bfloat16)
    expected = torch.from_numpy(values).bfloat16()
    assert torch.equal(rounded.isnan(), expected.isnan())
    assert torch.equal(rounded[~rounded.isnan()], expected[~rounded.isnan()])


def test_bf16_is_widened_to_the_same_value_and_float32_is_left_alone():
    every = np.arange(2**16, dtype=np.uint16)
    out = np.empty(every.size, np.float32)
    widen_all(every, out)
    expected = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(out, expected)
    again = np.empty_like(out)
    widen_all(out, again)
    cast_all(again, out)
    np.testing.assert_array_equal(out, expected)


def test_the_next_integer_is_the_next_float32():
    values = np.float32([1.0, 0.1, 3e38, 1e-40])
    out = np.empty_like(values)
    add_to_bits(values, out)
    np.testing.assert_array_equal(out, np.nextafter(values, np.float32(np.inf)))


def test_a_vector_is_copied_and_nothing_beside_it():
    source, out = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    copy_three_to_two(source, out)
    expected = np.zeros(40, np.float32)
    expected[2 : 2 + VECTOR] = source[3 : 3 + VECTOR]
    np.testing.assert_array_equal(out, expected)
