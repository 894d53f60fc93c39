"""The files of binary codes: what is not as it was written is refused, with what to do."""

import json
import shutil

import numpy as np
import pytest
from tests.search.feature_arrays import draw_features, write_index

from alexnet.packs.checked_files import crc32
from alexnet.packs.schema import DIGEST, compute_digest
from alexnet.search.autoencoder import EncoderOptions
from alexnet.search.code_files import open_codes, read_metadata
from alexnet.search.code_training import train_codes

QUICK = EncoderOptions(bits=64, steps=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index with codes."""
    path = tmp_path_factory.mktemp("made") / "x.index"
    train_codes(write_index(path, draw_features(100)), QUICK)
    return path


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(made, tmp_path / "x.index")


def change_metadata(folder, keep_digest=False, **changes):
    """Change fields of codes.json, as one who also computes the digest anew would."""
    content = json.loads((folder / "codes.json").read_text())
    content.update(changes)
    if not keep_digest:
        content[DIGEST] = compute_digest(content)
    (folder / "codes.json").write_text(json.dumps(content))


def test_codes_are_read_as_they_were_written(made):
    codes = open_codes(made)
    assert (len(codes), codes.bits, codes.codes.shape) == (100, 64, (100, 8))
    features = codes.index.gather(range(100))
    np.testing.assert_array_equal(codes.codes, codes.encoder.encode(features))
    assert codes.shortlist == read_metadata(codes.index).shortlist
    np.testing.assert_array_equal(np.load(made / "codes.npy"), codes.codes)


def test_an_index_without_codes_says_how_to_make_them(folder):
    (folder / "codes.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no binary codes. Make them: alexnet codes .*x"):
        open_codes(folder)


def test_codes_of_another_index_are_refused(folder, tmp_path):
    other = write_index(tmp_path / "other", draw_features(100, seed=5))
    for name in ("codes.json", "codes.npy", "encoder.safetensors"):
        shutil.copy(folder / name, other.path / name)
    with pytest.raises(ValueError, match=r"another state of the index\. Make them again"):
        open_codes(other)


@pytest.mark.parametrize("name", ["codes.npy", "encoder.safetensors"])
@pytest.mark.parametrize("at", [-1, 200])
def test_changed_bytes_are_noticed(folder, name, at):
    content = bytearray((folder / name).read_bytes())
    content[at] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"codes are damaged: .*{name} has other bytes .* again"):
        open_codes(folder)


@pytest.mark.parametrize("name", ["codes.npy", "encoder.safetensors"])
def test_a_missing_file_is_noticed(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing. Make them again"):
        open_codes(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 65}, "bits is 65, not a multiple of 64"),
        ({"bits": 128}, "makes 64 bits, not 128"),
        ({"shortlist": 0}, "shortlist is 0, not a number from 1"),
        ({"target": 1.5}, "target is 1.5"),
        ({"scores": [1]}, r"scores\[0\]"),
        ({"images": 99}, "another state of the index"),
        ({"format": "pack"}, "does not describe binary codes"),
        ({"version": 2}, "has version 2 of the format, this program reads 1"),
        ({"bits": 128, "keep_digest": True}, "was changed"),
    ],
)
def test_changed_metadata_are_refused(folder, changes, message):
    change_metadata(folder, **changes)
    with pytest.raises(ValueError, match=message):
        open_codes(folder)


def test_an_encoder_of_another_shape_is_refused(folder, tmp_path):
    other = write_index(tmp_path / "other", draw_features(100, 32))
    train_codes(other, QUICK)
    shutil.copy(other.path / "encoder.safetensors", folder)
    change_metadata(folder, encoder_crc32=crc32(folder / "encoder.safetensors"))
    with pytest.raises(ValueError, match=r"it holds .*\(64, 32\).*, not .*\(64, 48\)"):
        open_codes(folder)


def test_a_file_that_is_no_encoder_is_refused(folder):
    (folder / "encoder.safetensors").write_bytes(b"no encoder")
    change_metadata(folder, encoder_crc32=crc32(folder / "encoder.safetensors"))
    with pytest.raises(ValueError, match=r"the binary codes are damaged: .*encoder\.safetensors"):
        open_codes(folder)
