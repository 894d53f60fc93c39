"""An index is opened, checked and read; damage of each kind is one clear error."""

import json
import pickle
import shutil

import numpy as np
import pytest

from alexnet.packs.schema import compute_digest
from alexnet.search.index import open_index
from alexnet.search.writing import JOURNAL


@pytest.fixture
def copy(tiny_index, tmp_path):
    """The folder of a copy of an index, to damage."""
    return shutil.copytree(tiny_index.path, tmp_path / "copy")


def edit(folder, change):
    """Change index.json, and correct its digest."""
    path = folder / "index.json"
    content = json.loads(path.read_text())
    change(content)
    content["metadata_sha256"] = compute_digest(content)
    path.write_text(json.dumps(content))


def test_gathering_takes_rows_in_any_order_from_all_shards(tiny_index):
    everything = np.concatenate(tiny_index.features).astype(np.float32)
    assert everything.shape == (210, tiny_index.dimensions)
    indices = [209, 0, 150, 149, 0]
    found = tiny_index.gather(indices)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, everything[indices])
    assert tiny_index.gather([]).shape == (0, tiny_index.dimensions)
    for wrong in [210], [-1]:
        with pytest.raises(IndexError, match="out of range for an index of 210 images"):
            tiny_index.gather(wrong)


def test_an_image_is_located_in_its_split(tiny_index):
    assert tiny_index.locate(149) == ("train", 149)
    assert tiny_index.locate(150) == ("val", 0)
    with pytest.raises(IndexError, match="210 images"):
        tiny_index.locate(210)


def test_the_files_open_with_numpy(tiny_index):
    shards = [np.load(path) for path in sorted(tiny_index.path.glob("features-*.npy"))]
    np.testing.assert_array_equal(np.concatenate(shards), np.concatenate(tiny_index.features))
    np.testing.assert_array_equal(np.load(tiny_index.path / "labels.npy"), tiny_index.labels)


def test_an_index_can_be_pickled(tiny_index):
    other = pickle.loads(pickle.dumps(tiny_index))
    assert other.names == tiny_index.names


def test_a_good_index_verifies_and_a_flipped_bit_is_found(tiny_index, copy):
    tiny_index.verify()
    path = copy / "features-00001.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other bytes in features-00001\.npy"):
        open_index(copy).verify()


def test_the_pack_is_found_where_it_was_and_relative_to_the_index(tiny_index, tiny_pack, tmp_path):
    assert tiny_index.open_pack().checksum == tiny_pack.checksum
    shutil.copytree(tiny_pack.path, tmp_path / "packs" / "x.pack")
    index = shutil.copytree(tiny_index.path, tmp_path / "index")
    move = {"path": str(tmp_path / "nowhere"), "relative": "../packs/x.pack"}
    edit(index, lambda content: content["origin"]["pack"].update(move))
    assert open_index(index).open_pack().checksum == tiny_pack.checksum
    edit(index, lambda content: content["origin"]["pack"].update(checksum="0"))
    with pytest.raises(FileNotFoundError, match="Name it: --pack PACK"):
        open_index(index).open_pack()


def test_a_folder_without_an_index_says_how_to_make_one(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no index\.json\. Make one: alexnet features RUN PACK"
    ):
        open_index(tmp_path)
    (tmp_path / JOURNAL).write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"not finished\. Go on: alexnet features RUN PACK"):
        open_index(tmp_path)


DAMAGES = {
    "another format": (lambda x: x.update(format="alexnet pack"), "does not describe an index"),
    "a newer version": (lambda x: x.update(version=2), "version 2 of the format"),
    "a missing field": (lambda x: x.pop("shards"), "lacks the field 'shards'"),
    "another count": (lambda x: x.update(images=211), "images is 211, but the splits have 210"),
    "no splits": (lambda x: x["origin"].update(splits=[]), "or there are none"),
    "a wrong shape": (lambda x: x["origin"].update(shape=[7]), "do not fit the shape"),
    "a short hash": (lambda x: x["origin"]["checkpoint"].update(sha256="0"), "64 hexadecimal"),
    "a shard elsewhere": (lambda x: x["shards"][0].update(file="../x.npy"), "not features-00000"),
    "a shard across splits": (lambda x: x["shards"][0].update(images=151), "where 150 are left"),
    "a lost shard": (lambda x: x["shards"].pop(), "do not hold 210 images"),
    "another type": (lambda x: x["origin"].update(dtype="float64"), "not one of 'float16'"),
    "a CRC": (lambda x: x.update(names_crc32="x"), "not 8 hexadecimal digits"),
    "a null path": (lambda x: x["origin"]["pack"].update(path="\0"), "null character"),
    "classes": (lambda x: x["origin"].update(classes=["a", "a"]), "2 classes have 1 names"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_wrong_metadata_are_an_error_that_names_the_field(copy, name):
    change, message = DAMAGES[name]
    edit(copy, change)
    with pytest.raises(ValueError, match=message) as caught:
        open_index(copy)
    assert "Delete the index and make it again" in str(caught.value)


def test_edited_metadata_do_not_agree_with_their_digest(copy):
    text = (copy / "index.json").read_text()
    (copy / "index.json").write_text(text.replace('"layer": "pool3"', '"layer": "pool2"'))
    with pytest.raises(ValueError, match="does not agree with its metadata_sha256"):
        open_index(copy)


def test_damaged_files_are_errors(copy, tiny_index):
    for name, damage, message in (
        ("labels.npy", lambda content: content[:-8], "has 1800 bytes, not 1808"),
        ("features-00000.npy", lambda content: content[:-1], "bytes, not"),
        ("features-00000.npy", lambda content: b"x" + content[1:], "no .npy header of 128 bytes"),
        (
            "features-00001.npy",
            lambda content: content.replace(b"<f2", b"<f4", 1),
            r"holds float32 \(60, 576\), not float16 \(60, 576\)",
        ),
    ):
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(damage(good))
        with pytest.raises(ValueError, match=f"the index is damaged: .*{message}") as caught:
            open_index(copy)
        assert "alexnet features RUN PACK INDEX" in str(caught.value)
        (copy / name).write_bytes(good)
    (copy / "names.txt").unlink()
    with pytest.raises(ValueError, match=r"names\.txt is missing"):
        open_index(copy)


def test_wrong_labels_and_names_are_errors_when_they_are_read(copy):
    labels = np.load(copy / "labels.npy", mmap_mode="r+")
    labels[3] = 3
    labels.flush()
    (copy / "names.txt").write_bytes(b"a\nb\n")
    index = open_index(copy)
    with pytest.raises(ValueError, match="with 3 classes they must be from -1 to 2"):
        _ = index.labels
    with pytest.raises(ValueError, match="has 2 names for 210 images"):
        _ = index.names


def test_a_named_pack_must_be_that_of_the_index(tiny_index, tiny_pack, tmp_path):
    from tests.conftest import pictures

    from alexnet.packing.pack import pack

    assert tiny_index.open_pack(tiny_pack.path).checksum == tiny_pack.checksum
    other = pack(pictures(2, 0), tmp_path / "other.pack", processes=1).path
    with pytest.raises(
        ValueError, match=r"which has other images\. Name the pack that it was made"
    ):
        tiny_index.open_pack(other)


def test_rounded_features_are_those_that_can_be_stored(tiny_index):
    stored = tiny_index.gather(range(5))
    assert np.array_equal(tiny_index.round_features(stored), stored)
    rounded = tiny_index.round_features(stored + np.float32(1e-9))
    assert rounded.dtype == np.float32
    assert np.array_equal(rounded, rounded.astype(np.float16))
