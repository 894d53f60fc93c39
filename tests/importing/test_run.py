"""Imported weights give the logits of the programs that they come from, and work as any run."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import pictures
from tests.importing import foreign
from tests.importing.foreign import CLASSES

import alexnet
from alexnet import checkpoint, cli
from alexnet.importing.run import import_weights
from alexnet.packing.pack import pack
from alexnet.predict import load
from alexnet.recipes.named import RECIPES
from alexnet.training.train import train
from alexnet.training.transfer import adopt_network

NAMES = ["tench", "crane", "crane", "white stork", "maillot", "toilet tissue", "<b>\x1b"]


@pytest.fixture(scope="module")
def pth(reference, tmp_path_factory):
    """torchvision's weights as torchvision saves them."""
    path = tmp_path_factory.mktemp("weights") / "alexnet-owt.pth"
    torch.save(reference.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def run(pth, tmp_path_factory):
    """The run made of them, with the names of its classes."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    import_weights(pth, folder / "run", classes=folder / "classes.txt")
    return folder / "run"


@torch.no_grad()
def compute_logits(run, images):
    """The logits of a run for images, through the whole pipeline."""
    with load(run, "cpu") as classifier:
        return classifier.logits(list(images))


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_the_logits_are_those_of_torchvision(run, reference, photographs):
    expected = foreign.run_torchvision(reference, foreign.normalize(photographs))
    assert_close(compute_logits(run, photographs), expected)


@torch.no_grad()
def test_safetensors_give_the_same_weights(run, reference, tmp_path):
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    imported = import_weights(tmp_path / "model.safetensors", tmp_path / "run")
    assert (imported.network, imported.n_classes) == ("torchvision", CLASSES)
    before, after = (checkpoint.load(checkpoint.find(x)) for x in (run, imported.run))
    assert after.classes == tuple(f"class {i}" for i in range(CLASSES))
    assert all(torch.equal(x, after.weights[name]) for name, x in before.weights.items())


@pytest.mark.parametrize("side", [224, 256])
@torch.no_grad()
def test_the_network_is_torchvisions_at_other_sizes_too(run, reference, side):
    network = checkpoint.load(checkpoint.find(run)).build_network()
    network.conv1.weight.data = reference.features[0].weight.data
    x = torch.randn(1, 3, side, side)
    assert_close(network(x), foreign.run_torchvision(reference, x))


@pytest.mark.parametrize(("norm_first", "old"), [(True, True), (False, False)])
@torch.no_grad()
def test_the_logits_are_those_of_caffe(caffe, photographs, norm_first, old, tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(foreign.caffemodel(caffe, norm_first, old))
    mean = np.random.default_rng(0).uniform(90, 130, (3, 256, 256)).astype(np.float32)
    (tmp_path / "mean.binaryproto").write_bytes(foreign.blob(mean[None], old=True))
    imported = import_weights(
        tmp_path / "net.caffemodel", tmp_path / "run", mean=tmp_path / "mean.binaryproto"
    )
    assert imported.network == ("bvlc-alexnet" if norm_first else "caffenet")
    blue_first = torch.from_numpy(photographs[..., ::-1].copy()).permute(0, 3, 1, 2)
    images = (blue_first - torch.from_numpy(mean))[..., 14 : 14 + 227, 14 : 14 + 227]
    assert_close(
        compute_logits(imported.run, photographs), foreign.run_caffe(caffe, images, norm_first)
    )


def test_the_run_says_where_the_weights_come_from(run, pth):
    origin = json.loads((run / "environment.json").read_text())["imported"]
    assert origin["file"] == str(pth)
    assert len(origin["sha256"]) == 64
    assert origin["network"] == "torchvision"
    assert json.loads((run / "recipe.json").read_text())["network"] == "torchvision"


def test_predictions_have_the_names_of_the_classes(run, photographs, capsys, tmp_path):
    classifier = alexnet.load(run)
    prediction = classifier.predict(photographs[0], top=CLASSES)
    assert set(prediction.labels) == {*NAMES} - {"crane"} | {"crane (1)", "crane (2)"}
    assert classifier.features(photographs[0], "fc7").shape == (1, 4096)


def test_a_training_begins_with_the_weights_and_adopts_network_and_preprocessing(run, tmp_path):
    """What `alexnet train photos runs/photos --init runs/imagenet` does."""
    photos = pack(pictures(1, 1, 256), tmp_path / "photos.pack", processes=1)
    recipe = dataclasses.replace(adopt_network(RECIPES["small"], run), epochs=1, batch_size=3)
    trained = checkpoint.load(checkpoint.find(run))
    outcome = train(photos, tmp_path / "run", recipe, device="cpu", init=run)
    first = json.loads((outcome.run / "log.jsonl").read_text().splitlines()[0])
    assert (first["taken"], first["new"]) == (
        ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"],
        ["fc8"],
    )
    tuned = checkpoint.load(checkpoint.find(outcome.run))
    assert (tuned.recipe.network, tuned.preprocessing.crop) == ("torchvision", 224)
    assert tuned.preprocessing.pixel_scale == trained.preprocessing.pixel_scale
    assert tuned.classes == photos.classes
    change = (tuned.weights["conv2.weight"] - trained.weights["conv2.weight"]).abs().max()
    assert change < 0.1 * trained.weights["conv2.weight"].abs().max()


def test_imported_weights_cannot_be_resumed_and_have_no_pack(run, tiny_pack, capsys):
    recipe = checkpoint.load(checkpoint.find(run)).recipe
    small = dataclasses.replace(recipe, crop=32)
    with pytest.raises(ValueError, match="needs images of 63×63"):
        train(tiny_pack, run, small, resume=run)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(run)])
    assert "were imported, so no pack belongs to them" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_not_written_to(run, pth, tmp_path):
    with pytest.raises(FileExistsError, match=r"is not empty .*best.safetensors"):
        import_weights(pth, run)
    (tmp_path / "notes").touch()
    with pytest.raises(FileExistsError, match="'notes'"):
        import_weights(pth, tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        import_weights(pth, tmp_path / "notes")


def test_the_command_says_what_to_do_next(pth, tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["import", str(pth), str(tmp_path / "run")])
    assert not done.value.code
    printed = capsys.readouterr().out
    assert "`torchvision`, 57,032,519 parameters, 7 classes, crops of 224×224" in printed
    assert f"alexnet train IMAGES RUN --init {tmp_path / 'run'}" in printed


def test_errors_of_the_command_are_one_line(tmp_path, capsys):
    for name, message in (("x.pth", "there is no file"), ("x.jpg", "there is no file")):
        with pytest.raises(SystemExit) as done:
            cli.main(["import", str(tmp_path / name), str(tmp_path / "run")])
        assert done.value.code == 1
        assert message in capsys.readouterr().err
