"""Crops of packed records: what the formula says, and the kernel against it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.kernels import crop, references_only


def cut(images, side, size, seed=0, **changes):
    """Random arguments for crops of `images` records."""
    chance = torch.Generator().manual_seed(seed)
    room = side - size + 1
    return {
        "size": size,
        "side": side,
        "tops": torch.randint(room, (images,), generator=chance),
        "lefts": torch.randint(room, (images,), generator=chance),
        "flips": torch.rand(images, generator=chance) < 0.5,
        "shifts": torch.randn(images, 3, generator=chance),
        "mean": torch.rand(side, side, 3, generator=chance) * 255,
        "scale": 0.9,
        **changes,
    }


def records(count, side, pixels="rgb", seed=0):
    shape = (side, side, 3) if pixels == "rgb" else (side * side * 3 // 2,)
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def plain(side, size, **changes):
    """One crop at the corner with nothing done to it."""
    nothing = {"tops": [0], "lefts": [0], "flips": [False], "shifts": [[0.0, 0, 0]], "scale": 1.0}
    return {"size": size, "side": side, "mean": torch.zeros(side, side, 3), **nothing, **changes}


def test_a_crop_is_the_pixels_from_top_and_left():
    packed = records(3, 8)
    out = crop(packed, [2], **plain(8, 5, tops=[1], lefts=[3]))
    assert np.array_equal(out[0].permute(1, 2, 0).numpy(), packed[2, 1:6, 3:8])


def test_a_mirrored_crop_is_the_same_pixels_from_right_to_left():
    packed = records(1, 8)
    there, back = (crop(packed, [0], **plain(8, 5, lefts=[2], flips=[f])) for f in (False, True))
    assert torch.equal(there.flip(3), back)


def test_an_image_that_equals_its_mean_is_zero_wherever_it_is_cut():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (1, 64, 64, 3))
    how = plain(64, 32, mean=torch.from_numpy(ramp[0].astype(np.float32)))
    assert not crop(ramp, [0], **how).any()
    central = crop(ramp, [0], **how, mean_tops=[16], mean_lefts=[16])  # as the 2012 code does
    assert (central == -16).all()


def test_colors_are_shifted_before_they_are_scaled():
    gray = np.full((1, 4, 4, 3), 100, np.uint8)
    out = crop(gray, [0], **plain(4, 4, shifts=[[1.0, -2, 0]], scale=0.5))
    assert out[0, :, 0, 0].tolist() == [50.5, 49, 50]


def test_gray_yuv_records_are_gray():
    record = np.full((1, 96), 128, np.uint8)
    record[0, :64] = np.arange(64)
    out = crop(record, [0], **plain(8, 8), pixels="yuv420")
    assert torch.equal(out, torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8))


def test_yuv_records_have_the_colors_of_jpeg():
    record = np.concatenate([np.full(4, 76), [85], [255]]).astype(np.uint8)[None]
    red = crop(record, [0], **plain(2, 2), pixels="yuv420")[0, :, 0, 0]
    assert red.tolist() == pytest.approx([254, 0, 0], abs=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_buffer_is_written_and_returned(dtype):
    buffer = torch.full((2, 3, 6, 6), 7.0, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    out = crop(records(5, 8), [1, 3], **cut(2, 8, 6), out=buffer)
    assert out is buffer
    expected = crop(records(5, 8), [1, 3], **cut(2, 8, 6))
    assert torch.equal(out, expected.to(dtype))


def test_memory_mapped_records_are_read_in_place(tmp_path):
    np.save(tmp_path / "images.npy", records(4, 8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    how = cut(3, 8, 6)
    expected = crop(torch.from_numpy(records(4, 8)), [3, 0, 1], **how)
    assert torch.equal(crop(mapped, [3, 0, 1], **how), expected)
    with references_only():
        assert torch.equal(crop(mapped, [3, 0, 1], **how), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(1, 6).map(lambda half: 2 * half),
    st.data(),
    st.sampled_from(["rgb", "yuv420"]),
)
def test_the_kernel_gives_what_the_formula_gives(images, side, data, pixels):
    size = data.draw(st.integers(1, side))
    how = {**cut(images, side, size), "pixels": pixels}
    places = data.draw(st.integers(0, side - size))
    how |= {"mean_tops": torch.full((images,), places)} if data.draw(st.booleans()) else {}
    chosen = torch.arange(images) % 3
    packed = records(3, side, pixels)
    fast = crop(packed, chosen, **how)
    with references_only():
        slow = crop(packed, chosen, **how)
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=2e-4)
    assert fast.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tops": [9, 0]}, "an offset of a 6×6 crop is 9, and must be 0 … 2"),
        ({"lefts": [0, -1]}, "is -1"),
        ({"shifts": torch.zeros(2)}, "must be"),
        ({"side": 9}, "of side 9 are uint8"),
        ({"pixels": "hsv"}, "'rgb' or 'yuv420'"),
        ({"out": torch.zeros(2, 3, 6, 6)}, "channels_last"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        crop(records(5, 8), [0, 1], **{**cut(2, 8, 6), **changes})


def test_a_record_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"an index is 5, and must be 0 … 4"):
        crop(records(5, 8), [0, 5], **cut(2, 8, 6))
