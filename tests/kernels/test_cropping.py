"""Crops of packed records: examples computed by hand, and the CPU kernels against the reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.kernels import crop, references_only


def draw_arguments(images, side, size, seed=0, **changes):
    """Random arguments of `crop` for `images` crops."""
    generator = torch.Generator().manual_seed(seed)
    n_offsets = side - size + 1
    return {
        "size": size,
        "side": side,
        "tops": torch.randint(n_offsets, (images,), generator=generator),
        "lefts": torch.randint(n_offsets, (images,), generator=generator),
        "flips": torch.rand(images, generator=generator) < 0.5,
        "shifts": torch.randn(images, 3, generator=generator),
        "mean": torch.rand(side, side, 3, generator=generator) * 255,
        "scale": 0.9,
        **changes,
    }


def draw_records(count, side, pixels="rgb", seed=0):
    shape = (side, side, 3) if pixels == "rgb" else (side * side * 3 // 2,)
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def copying_arguments(side, size, **changes):
    """Arguments of `crop` for one crop at the top left corner whose pixels are not changed."""
    unchanged = {"flips": [False], "shifts": [[0.0, 0, 0]], "scale": 1.0}
    mean = torch.zeros(side, side, 3)
    return {
        "size": size, "side": side, "tops": [0], "lefts": [0], "mean": mean, **unchanged, **changes
    }  # fmt: skip


def test_a_crop_is_the_pixels_from_top_and_left():
    records = draw_records(3, 8)
    out = crop(records, [2], **copying_arguments(8, 5, tops=[1], lefts=[3]))
    assert np.array_equal(out[0].permute(1, 2, 0).numpy(), records[2, 1:6, 3:8])


def test_a_mirrored_crop_is_the_same_pixels_from_right_to_left():
    records = draw_records(1, 8)
    plain, mirrored = (
        crop(records, [0], **copying_arguments(8, 5, lefts=[2], flips=[flip]))
        for flip in (False, True)
    )
    assert torch.equal(plain.flip(3), mirrored)


def test_an_image_that_equals_the_mean_is_zero_wherever_it_is_cropped():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (1, 64, 64, 3))
    arguments = copying_arguments(64, 32, mean=torch.from_numpy(ramp[0].astype(np.float32)))
    assert not crop(ramp, [0], **arguments).any()
    central = crop(ramp, [0], **arguments, mean_tops=[16], mean_lefts=[16])  # as the 2012 code
    assert (central == -16).all()


def test_colors_are_shifted_before_they_are_scaled():
    gray = np.full((1, 4, 4, 3), 100, np.uint8)
    out = crop(gray, [0], **copying_arguments(4, 4, shifts=[[1.0, -2, 0]], scale=0.5))
    assert out[0, :, 0, 0].tolist() == [50.5, 49, 50]


def test_gray_yuv_records_are_gray():
    record = np.full((1, 96), 128, np.uint8)
    record[0, :64] = np.arange(64)
    out = crop(record, [0], **copying_arguments(8, 8), pixels="yuv420")
    assert torch.equal(out, torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8))


def test_yuv_records_have_the_colors_of_jpeg():
    record = np.concatenate([np.full(4, 76), [85], [255]]).astype(np.uint8)[None]
    red = crop(record, [0], **copying_arguments(2, 2), pixels="yuv420")[0, :, 0, 0]
    assert red.tolist() == pytest.approx([254, 0, 0], abs=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_given_tensor_is_written_and_returned(dtype):
    given_out = torch.full((2, 3, 6, 6), 7.0, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    out = crop(draw_records(5, 8), [1, 3], **draw_arguments(2, 8, 6), out=given_out)
    assert out is given_out
    expected = crop(draw_records(5, 8), [1, 3], **draw_arguments(2, 8, 6))
    assert torch.equal(out, expected.to(dtype))


def test_memory_mapped_records_are_read_in_place(tmp_path):
    np.save(tmp_path / "images.npy", draw_records(4, 8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    arguments = draw_arguments(3, 8, 6)
    expected = crop(torch.from_numpy(draw_records(4, 8)), [3, 0, 1], **arguments)
    assert torch.equal(crop(mapped, [3, 0, 1], **arguments), expected)
    with references_only():
        assert torch.equal(crop(mapped, [3, 0, 1], **arguments), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(1, 6).map(lambda half: 2 * half),
    st.data(),
    st.sampled_from(["rgb", "yuv420"]),
)
def test_the_kernel_equals_the_reference(images, side, data, pixels):
    size = data.draw(st.integers(1, side))
    arguments = {**draw_arguments(images, side, size), "pixels": pixels}
    mean_top = data.draw(st.integers(0, side - size))
    if data.draw(st.booleans()):
        arguments["mean_tops"] = torch.full((images,), mean_top)
    indices = torch.arange(images) % 3
    records = draw_records(3, side, pixels)
    out = crop(records, indices, **arguments)
    with references_only():
        expected = crop(records, indices, **arguments)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=2e-4)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tops": [9, 0]}, "offsets of 6×6 crops must be from 0 to 2, got 9"),
        ({"lefts": [0, -1]}, "got -1"),
        ({"shifts": torch.zeros(2)}, "must have the shapes"),
        ({"side": 9}, "of side 9 must be uint8"),
        ({"pixels": "hsv"}, "'rgb' or 'yuv420', got 'hsv'"),
        ({"out": torch.zeros(2, 3, 6, 6)}, "channels_last"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        crop(draw_records(5, 8), [0, 1], **{**draw_arguments(2, 8, 6), **changes})


def test_an_index_beyond_the_records_is_refused():
    with pytest.raises(ValueError, match="indices of records must be from 0 to 4, got 5"):
        crop(draw_records(5, 8), [0, 5], **draw_arguments(2, 8, 6))
