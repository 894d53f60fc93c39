"""Making codes: repeatable, and after a kill at any moment complete or absent."""

import dataclasses
import json

import pytest
from tests.search.feature_arrays import draw_features, write_index

from alexnet.files import lock_folder
from alexnet.search import code_training
from alexnet.search.autoencoder import EncoderOptions
from alexnet.search.code_files import open_codes, read_metadata
from alexnet.search.code_training import train_codes

QUICK = EncoderOptions(bits=64, steps=5)
FILES = "codes.npy", "encoder.safetensors"


class Killed(BaseException):
    """What ends the making here, as a kill would."""


def read_files(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_the_same_options_give_the_same_files(tmp_path):
    for name in ("one", "other"):
        train_codes(write_index(tmp_path / name, draw_features()), QUICK)
    assert read_files(tmp_path / "one") == read_files(tmp_path / "other")


def test_the_number_of_shards_does_not_matter(tmp_path):
    train_codes(write_index(tmp_path / "one", draw_features(), 400), QUICK)
    train_codes(write_index(tmp_path / "other", draw_features(), 77), QUICK)
    codes = [open_codes(tmp_path / name).codes.tobytes() for name in ("one", "other")]
    assert codes[0] == codes[1]


def test_other_options_replace_the_codes(tmp_path):
    index = write_index(tmp_path / "index", draw_features())
    assert train_codes(index, QUICK).bits == 64
    assert train_codes(index, dataclasses.replace(QUICK, bits=128)).bits == 128
    assert open_codes(index).bits == 128


@pytest.mark.parametrize("step", ["train_encoder", "write_codes", "measure_methods"])
def test_killed_at_any_step_there_are_no_codes_and_a_second_call_makes_them(
    tmp_path, monkeypatch, step
):
    expected = write_index(tmp_path / "expected", draw_features())
    train_codes(expected, QUICK)
    index = write_index(tmp_path / "index", draw_features())
    train_codes(index, dataclasses.replace(QUICK, seed=3))  # older codes, which must not stay

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(code_training, step, kill)
        with pytest.raises(Killed):
            train_codes(index, QUICK)
    with pytest.raises(FileNotFoundError, match="alexnet codes"):
        open_codes(index)
    train_codes(index, QUICK)
    assert read_files(index.path) == read_files(expected.path)


def test_a_finished_encoder_of_the_same_options_is_used_again(tmp_path, monkeypatch):
    index = write_index(tmp_path / "index", draw_features())
    train_codes(index, QUICK)
    monkeypatch.delattr(code_training, "train_encoder")
    train_codes(index, QUICK)
    with pytest.raises(NameError):
        train_codes(index, dataclasses.replace(QUICK, steps=6))


def test_half_precision_features_are_encoded(tmp_path):
    index = write_index(tmp_path / "index", draw_features().astype("float16"))
    codes = train_codes(index, QUICK)
    assert read_metadata(index).scores[0].bytes_per_image == 96
    indices, distances = codes.search(index.gather([5]), 1)
    assert (indices[0, 0], distances[0, 0]) == (5, 0)


def test_the_scores_and_the_shortlist_are_kept(tmp_path):
    index = write_index(tmp_path / "index", draw_features())
    codes = train_codes(index, QUICK, target=0.9)
    content = json.loads((index.path / "codes.json").read_text())
    assert content["shortlist"] == codes.shortlist
    assert (content["target"], content["queries"]) == (0.9, 20)
    assert [score["method"] for score in content["scores"]] == ["exact", "codes", "reranked"]


def test_progress_is_reported(tmp_path):
    texts = []
    index = write_index(tmp_path / "index", draw_features())
    train_codes(index, QUICK, report=lambda done, total, text: texts.append(text))
    assert "reading the features of 360 images" in texts
    assert "encoding  400 of 400 images" in texts


def test_what_cannot_have_codes_is_refused(tmp_path):
    few = write_index(tmp_path / "few", draw_features(19))
    with pytest.raises(ValueError, match="has 19 images, and codes can be trained on 20 or more"):
        train_codes(few)
    index = write_index(tmp_path / "index", draw_features(20))
    with pytest.raises(ValueError, match=r"target recall is 1\.5, not between 0 and 1"):
        train_codes(index, QUICK, target=1.5)
    with lock_folder(index.path, "making binary codes"), pytest.raises(BlockingIOError):
        train_codes(index, QUICK)
    assert len(train_codes(index, QUICK)) == 20
