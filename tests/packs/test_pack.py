"""Reading packs: whole, damaged, too new."""

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.packing.packing_sources import arrays

from alexnet.packing.pack import pack
from alexnet.packs.checked_files import escape, unescape
from alexnet.packs.pack import open_pack
from alexnet.packs.verification import verify


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A pack of 40 training and 40 validation images in shards of 7."""
    return pack(arrays(40), tmp_path_factory.mktemp("dataset") / "pack", shard_images=7)


@pytest.fixture
def copy(original, tmp_path):
    """The folder of a copy of it, to damage."""
    return shutil.copytree(original.path, tmp_path / "copy")


def test_an_opened_pack_has_its_images_labels_names_and_metadata(original):
    assert (original.size, original.pixels) == (8, "rgb")
    assert original.classes == ("cat", "dog")
    train = original.splits["train"]
    assert (len(train), len(train.shards)) == (40, 6)
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0, 1] * 20
    assert train.name(7) == "train/ä\n7"
    assert original.mean.shape == (8, 8, 3)
    assert original.components.shape == (3, 3)


@given(st.lists(st.integers(0, 39), max_size=60))
def test_gather_equals_indexing(original, indices):
    train = original.splits["train"]
    everything = np.concatenate(train.shards)
    assert np.array_equal(train.gather(indices), everything[np.array(indices, int)])


def test_gather_into_an_array_returns_that_array(original, tmp_path):
    for made in (original, pack(arrays(5), tmp_path / "one")):
        out = np.empty((3, 8, 8, 3), np.uint8)
        split = made.splits["train"]
        assert split.gather(np.array([4, 0, 4]), out=out) is out
        assert np.array_equal(out, split.gather([4, 0, 4]))


@pytest.mark.parametrize("index", [-1, 40])
def test_indices_out_of_range_are_refused(original, index):
    with pytest.raises(IndexError, match="of 40 images"):
        original.splits["train"].gather([0, index])


def test_a_pickled_pack_holds_only_the_path(original):
    sent = pickle.dumps(original)
    assert len(sent) < 1000
    assert pickle.loads(sent).checksum == original.checksum


def test_shards_are_read_only(original):
    with pytest.raises(ValueError, match="read-only"):
        original.splits["train"].shards[0][0] = 0


def test_verify_accepts_an_intact_pack(original):
    verify(original)


@pytest.mark.parametrize("file", ["train/images-00002.npy", "val/labels.npy", "mean.npy"])
def test_verify_finds_a_changed_byte(copy, file):
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"damaged: {file}"):
        verify(open_pack(copy))


@pytest.mark.parametrize(
    "file", ["train/images-00002.npy", "val/labels.npy", "val/names.txt", "mean.npy"]
)
def test_opening_finds_a_missing_file(copy, file):
    (copy / file).unlink()
    with pytest.raises(ValueError, match=f"{file} is missing"):
        open_pack(copy)


def test_opening_finds_a_truncated_file(copy):
    shard = copy / "train" / "images-00005.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"images-00005\.npy has 1087 bytes, not 1088"):
        open_pack(copy)


def test_opening_finds_an_array_of_another_shape(copy):
    np.save(copy / "mean.npy", np.zeros((8 * 8, 3), np.float32))
    with pytest.raises(ValueError, match=r"holds float32 \(64, 3\), not float32 \(8, 8, 3\)"):
        _ = open_pack(copy).mean


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "has version 3"),
        ({"format": "other"}, "does not describe a pack"),
        ({"splits": 3}, "damaged"),
        ({"size": None}, "damaged"),
    ],
)
def test_invalid_metadata_are_refused(copy, change, message):
    facts = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps(facts | change))
    with pytest.raises(ValueError, match=message):
        open_pack(copy)


def test_the_error_for_a_folder_without_a_pack_has_the_command_that_makes_one(tmp_path, copy):
    with pytest.raises(FileNotFoundError, match="Make one: alexnet pack IMAGES"):
        open_pack(tmp_path / "nothing")
    (copy / "pack.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_pack(copy)


@given(st.text(st.characters(exclude_categories=())))
def test_escape_writes_any_name_on_one_line_and_unescape_restores_it(name):
    line = escape(name)
    assert unescape(line) == name
    assert len(line.splitlines()) <= 1
    line.encode()


def test_an_error_of_the_program_is_not_reported_as_damage(original, monkeypatch):
    def half_imported(*arguments):
        raise AttributeError("partially initialized module 'numpy' has no attribute 'array'")

    monkeypatch.setattr("alexnet.packs.pack.np.array", half_imported)
    with pytest.raises(AttributeError, match="partially initialized"):
        open_pack(original.path)
