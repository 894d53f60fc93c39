"""Sizes after pooling, and the memory that kernels read and write."""

import pytest
import torch
import torch.nn.functional as F

from alexnet.kernels.runtime.layout import allocate_pooled, as_array, check_window, count_windows


def test_sizes_round_up():
    assert [count_windows(size, 3, 2) for size in (55, 27, 13, 32, 16, 8)] == [27, 13, 6, 16, 8, 4]
    assert count_windows(5, 1, 3) == 2  # a third window would start outside


@pytest.mark.parametrize("pool", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_sizes_are_those_of_pytorch_in_ceil_mode(pool, stride):
    for size in range(pool, 20):
        x = torch.zeros(1, 1, size, size)
        pooled = F.max_pool2d(x, pool, stride, ceil_mode=True)
        assert pooled.shape[2] == count_windows(size, pool, stride)


def test_an_argmax_index_takes_a_byte_while_windows_are_small():
    x = torch.zeros(2, 3, 20, 20)
    assert allocate_pooled(x, 3, 2)[1].dtype == torch.uint8
    assert allocate_pooled(x, 15, 2)[1].dtype == torch.uint8  # 225 positions and "blocked"
    assert allocate_pooled(x, 16, 2)[1].dtype == torch.int32


def test_an_array_is_a_view_of_the_tensor_with_channels_last():
    x = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    array = as_array(x)
    array[1, 2, 3, 0] = 7
    assert array.shape == (2, 4, 5, 3)
    assert array.flags.c_contiguous
    assert x[1, 0, 2, 3] == 7
    assert as_array(x.bfloat16()).dtype == "uint16"


def test_integers_and_images_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"got torch.uint8 \(1, 3, 4, 4\)"):
        check_window(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 3, 2)
    with pytest.raises(ValueError, match=r"got torch.float32 \(3, 4, 4\)"):
        check_window(torch.zeros(3, 4, 4), 3, 2)
