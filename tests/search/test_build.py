"""An index is made of a run and a pack, with the features that a classifier gives, resumably."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import picture, pictures

import alexnet
from alexnet.files import lock_folder
from alexnet.packing.pack import pack
from alexnet.predict import Classifier
from alexnet.search import writing
from alexnet.search.build import build_index
from alexnet.search.index import open_index


def read_bytes(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_features_are_those_that_a_classifier_gives(run, tiny_pack, tmp_path, dtype):
    index = build_index(run, tiny_pack, tmp_path / "x", layer="conv2", dtype=dtype, device="cpu")
    assert index.layer == "conv2"
    assert index.metadata.origin.shape == (32, 14, 14)
    classifier = alexnet.load(run, "cpu")
    for name, split in tiny_pack.splits.items():
        images = list(split.gather(range(len(split))))
        expected = classifier.features(images, "conv2").flatten(1).to(getattr(torch, dtype))
        found = index.gather(index.ranges[name])
        np.testing.assert_array_equal(found, expected.float().numpy())


def test_names_labels_and_classes_are_those_of_the_pack(tiny_index, tiny_pack):
    splits = tiny_pack.splits.values()
    assert tiny_index.names == [name for split in splits for name in split.names]
    assert tiny_index.labels.tolist() == [x for split in splits for x in split.labels]
    assert tiny_index.classes == tiny_pack.classes
    assert tiny_index.ranges == {"train": range(150), "val": range(150, 210)}


def test_the_default_is_every_split_and_the_last_hidden_layer_in_float16(tiny_index):
    assert tiny_index.layer == "pool3"
    assert {shard.dtype for shard in tiny_index.features} == {np.dtype("float16")}
    assert len(tiny_index) == 210


def test_one_split_can_be_chosen(run, tiny_pack, tmp_path):
    index = build_index(run, tiny_pack, tmp_path / "x", split="val", device="cpu")
    assert index.names == tiny_pack.splits["val"].names


class KilledError(BaseException):
    """Stands for the end of the process: no code of the program catches it."""


@pytest.fixture
def kill(monkeypatch):
    """Return a function that makes the given rename, and all cleaning up after it, not happen."""

    def arm(number: int, after: bool):
        count, rename = 0, os.replace

        def replace(source, target):
            nonlocal count
            count += 1
            if count == number and after:
                rename(source, target)
            if count >= number:
                monkeypatch.setattr(
                    Path, "unlink", lambda *a, **k: None
                )  # a kill cleans nothing up
                raise KilledError
            rename(source, target)

        monkeypatch.setattr(os, "replace", replace)

    return arm


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 11))
def test_after_a_kill_at_any_rename_the_same_call_ends_with_the_same_bytes(
    run, tiny_pack, tmp_path, monkeypatch, kill, number, after
):
    monkeypatch.setattr(writing, "SHARD_BYTES", 1)  # shards of one batch: 128 + 22 + 60 images
    build_index(run, tiny_pack, tmp_path / "straight", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "SHARD_BYTES", 1)
        kill(number, after)
        with pytest.raises(KilledError):
            build_index(run, tiny_pack, tmp_path / "killed", device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(writing, "SHARD_BYTES", 1)
    build_index(run, tiny_pack, tmp_path / "killed", device="cpu")
    assert read_bytes(tmp_path / "killed") == read_bytes(tmp_path / "straight")
    assert len(read_bytes(tmp_path / "killed")) == 6


def test_what_is_done_is_not_done_again(run, tiny_pack, tmp_path, monkeypatch):
    build_index(run, tiny_pack, tmp_path / "x", device="cpu")
    monkeypatch.setattr(Classifier, "run_layer", None)
    (tmp_path / "x" / writing.JOURNAL).write_text("{}")  # as after a kill before its removal
    assert len(build_index(run, tiny_pack, tmp_path / "x", device="cpu")) == 210
    assert not (tmp_path / "x" / writing.JOURNAL).exists()


def test_progress_counts_images(run, tiny_pack, tmp_path):
    reports = []
    build_index(run, tiny_pack, tmp_path / "x", device="cpu", progress=reports.append)
    assert [at.done for at in reports] == [128, 150, 210]
    assert {at.total for at in reports} == {210}
    assert reports[-1].seconds_left == 0


def test_images_of_other_classes_are_packed_as_the_network_needs_them(run, tmp_path):
    for name in "beach", "forest":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            image = Image.fromarray(picture(number, number, 60))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    index = build_index(run, tmp_path / "photos", tmp_path / "x", device="cpu")
    assert index.classes == ("beach", "forest")
    assert index.ranges == {"train": range(6)}
    made = index.open_pack()
    assert made.size == 32
    assert Path(made.path).parent == run.parent
    assert len(build_index(run, tmp_path / "photos", tmp_path / "x", device="cpu")) == 6


def test_another_index_is_not_written_over(run, tiny_pack, tmp_path):
    build_index(run, tiny_pack, tmp_path / "x", split="val", device="cpu")
    for options, message in (
        ({"split": "val", "layer": "conv1"}, "layer is pool3 there, and conv1 now"),
        ({"split": "val", "dtype": "float32"}, "the type is float16 there, and float32 now"),
        ({"split": "train"}, r"the splits is val \(60 images\) there, and train \(150 images\)"),
        ({"split": "val", "run": run / "last.safetensors"}, None),
    ):
        chosen = options.pop("run", run)
        if message is None:
            same = (run / "last.safetensors").read_bytes() == (
                run / "best.safetensors"
            ).read_bytes()
            message = None if same else "the network is"
        if message is None:
            continue
        with pytest.raises(FileExistsError, match=message):
            build_index(chosen, tiny_pack, tmp_path / "x", device="cpu", **options)
    assert len(open_index(tmp_path / "x")) == 60


def test_a_folder_of_other_things_is_left_alone(run, tiny_pack, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(FileExistsError, match=r"holds no index \(there is 'letter.txt'\)"):
        build_index(run, tiny_pack, tmp_path, device="cpu")


def test_two_processes_do_not_make_the_same_index(run, tiny_pack, tmp_path):
    (tmp_path / "x").mkdir()
    with (
        lock_folder(tmp_path / "x", "writing features"),
        pytest.raises(BlockingIOError, match="another process is writing features"),
    ):
        build_index(run, tiny_pack, tmp_path / "x", device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "fc9"}, "no layer 'fc9'; it has conv1, pool1"),
        ({"split": "test"}, "no split 'test'; it has train, val"),
    ],
)
def test_unknown_layers_and_splits_are_errors(run, tiny_pack, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        build_index(run, tiny_pack, tmp_path / "x", device="cpu", **options)
    assert not (tmp_path / "x").exists()


def test_a_pack_of_another_size_is_an_error(run, tmp_path):
    other = pack(pictures(2, 0, 16), tmp_path / "other.pack", processes=1)
    with pytest.raises(ValueError, match="trained on 32×32 images"):
        build_index(run, other, tmp_path / "x", device="cpu")


@pytest.mark.parametrize(
    ("value", "message"), [(1e5, "up to 1e.05, and float16 ends"), (np.nan, "has diverged")]
)
def test_features_that_are_not_finite_are_errors(
    run, tiny_pack, tmp_path, monkeypatch, value, message
):
    outputs = lambda self, records, layer: torch.full((len(records), 576), value)  # noqa: E731
    monkeypatch.setattr(Classifier, "run_layer", outputs)
    with pytest.raises(ValueError, match=message):
        build_index(run, tiny_pack, tmp_path / "x", device="cpu")


def test_a_damaged_journal_is_an_error(run, tiny_pack, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / writing.JOURNAL).write_text('{"shards": 7}')
    with pytest.raises(
        ValueError, match=r"lacks the field 'origin'\. The journal is damaged: delete"
    ):
        build_index(run, tiny_pack, tmp_path / "x", device="cpu")
