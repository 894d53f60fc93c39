"""Damaged and forged checkpoints are refused with a plain error; those of earlier versions open."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from alexnet import checkpoint as checkpoints
from alexnet.recipes.named import RECIPES
from alexnet.training.train import train
from tests.mutations import damaged, strange

REFUSED = (ValueError, OSError)


@pytest.fixture(scope="module")
def last(tiny_pack, tmp_path_factory):
    recipe = replace(RECIPES["cifar"], epochs=1, batch_size=50)
    run = train(tiny_pack, tmp_path_factory.mktemp("runs") / "run", recipe, device="cpu").run
    return run / "last.safetensors"


def parts(path):
    with safe_open(path, "pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata())


def test_a_flipped_bit_anywhere_is_found(last, tmp_path):
    content, path = last.read_bytes(), tmp_path / "damaged.safetensors"
    places = {*range(0, 2000, 37), *range(2000, len(content), len(content) // 200)}
    header = 8 + int.from_bytes(content[:8], "little")
    assert min(places) < 8 < header < max(places)
    for place in places:
        flipped = bytes([content[place] ^ 4])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        with pytest.raises(REFUSED):
            checkpoints.load(path)


def test_damaged_files_are_refused_and_never_end_in_a_traceback(last, tmp_path):
    path = tmp_path / "damaged.safetensors"
    original = last.read_bytes()
    for content in damaged(original, 300):
        path.write_bytes(content)
        if content != original:
            with pytest.raises(REFUSED):
                checkpoints.load(path)


def test_a_damaged_checkpoint_is_refused_with_advice(last, tmp_path):
    tensors, metadata = parts(last)
    tensors["momentum/fc.weight" if "fc.weight" in tensors else next(iter(tensors))][0] += 1
    save_file(tensors, tmp_path / "x.safetensors", metadata)
    with pytest.raises(ValueError, match=r"are damaged: their checksum .* Use a copy of it"):
        checkpoints.load(tmp_path / "x.safetensors")


def test_checkpoints_without_checksums_open(last, tmp_path):
    tensors, metadata = parts(last)
    save_file(tensors, tmp_path / "old.safetensors", {"alexnet": metadata["alexnet"]})
    old, new = checkpoints.load(tmp_path / "old.safetensors"), checkpoints.load(last)
    assert (old.position, old.recipe) == (new.position, new.recipe)
    assert all(torch.equal(old.weights[name], w) for name, w in new.weights.items())


def test_made_up_metadata_is_refused_whatever_it_holds(last, tmp_path):
    tensors, metadata = parts(last)
    path, meta = tmp_path / "strange.safetensors", json.loads(metadata["alexnet"])
    accepted = 0
    for changed in strange({k: meta[k] for k in ("classes", "wordnet_ids", "position", "format")}):
        save_file(tensors, path, {"alexnet": json.dumps({**meta, **changed})})
        try:
            checkpoints.load(path)
            accepted += 1
        except REFUSED:
            pass
    for name in ("recipe", "preprocessing"):
        for changed in strange(meta[name]):
            save_file({}, path, {"alexnet": json.dumps({**meta, name: changed})})
            with pytest.raises(REFUSED):
                checkpoints.load(path)
    assert accepted < 400  # a strange number may still be one that can be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a", "a", "b"]}, "3 classes have 2 names"),
        ({"classes": []}, "0 classes"),
        ({"wordnet_ids": ["n1"]}, "1 WordNet ids for 3 classes"),
        ({"position": {"epoch": 1}}, "0 epochs were measured, and 1 are done"),
        ({"position": {"epoch": -1}}, "position.epoch is -1, not a number from 0"),
        ({"recipe": {"epochs": "many"}}, 'recipe.epochs is "many", not a whole number'),
        ({"recipe": {"crop": 1 << 40}}, "it has to be 16384 or less"),
    ],
)
def test_errors_name_the_place_in_the_file(last, tmp_path, change, message):
    tensors, metadata = parts(last)
    meta = {**json.loads(metadata["alexnet"]), **change}
    save_file(tensors, tmp_path / "x.safetensors", {"alexnet": json.dumps(meta)})
    with pytest.raises(ValueError, match=message):
        checkpoints.load(tmp_path / "x.safetensors")
