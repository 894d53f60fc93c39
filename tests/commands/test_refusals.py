"""What cannot be trained is refused before the first image is packed; a dry run writes nothing."""

import dataclasses
import os
import subprocess
import sys

import pytest
from PIL import Image
from tests.conftest import CLASSES, picture

from alexnet.commands import refusals
from alexnet.commands.train import Train

QUICK = ["--network", "cifar", "--crop", "28", "--dropout", "0", "--schedule", "cosine"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of class folders in the current folder; a training that packs them fails."""
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            path = tmp_path / "photos" / name / f"{number}.png"
            Image.fromarray(picture(label, number)).save(path)
    monkeypatch.chdir(tmp_path)

    def pack_nothing(*arguments, **options):
        raise AssertionError("images were packed")

    monkeypatch.setattr("alexnet.commands.pack.pack_next_to_run_with_bar", pack_nothing)
    return tmp_path / "photos"


@pytest.fixture
def trained(tmp_path_factory):
    """A run of one epoch."""
    import alexnet

    place = tmp_path_factory.mktemp("trained")
    for label, name in enumerate(CLASSES):
        for split in ("train", "val"):
            (place / "images" / split / name).mkdir(parents=True)
            path = place / "images" / split / name / "1.png"
            Image.fromarray(picture(label, 7)).save(path)
    pack = alexnet.pack(place / "images", place / "images.pack", size=32)
    recipe = dataclasses.replace(alexnet.RECIPES["cifar"], epochs=1, crop=28)
    alexnet.train(pack, place / "run", recipe, device="cpu")
    return place / "run"


def parse(*words):
    import tyro

    return tyro.cli(Train, args=[str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe nothing", "no recipe is called"),
        ("--network alexnt", "Did you mean alexnet?"),
        ("--epochs 0", "epochs is 0"),
        ("--device cuda:77", "--device cuda:77"),
        ("--device tpu", "no device has that name"),
        ("--precision tf32 --device cpu", "--precision tf32"),
        ("--variations unit=foo", "relu or tanh"),
        ("--crop 99999", "crop is 99999"),
        ("--crop 9999", "have at most 8192×8192 pixels: give a smaller --crop"),
        ("--crop 9999 --dry-run", "have at most 8192×8192 pixels"),
        ("--crop 3 --network alexnet", "3"),
        ("--rates conv9=0", "no layer conv9"),
        ("--decays conv9=0", "no layer conv9"),
        ("--schedule steps", "needs factors"),
        ("--init nothing", "there is no nothing, and so no trained network"),
        ("--take conv1", "say which, --init RUN"),
        ("--save-minutes -1", "--save-minutes is -1"),
        ("--log-seconds nan", "--log-seconds is nan"),
        ("--resume nothing.safetensors", "no checkpoint file"),
    ],
)
def test_wrong_options_are_refused_before_packing(photos, words, message):
    with pytest.raises((ValueError, OSError)) as caught:
        parse("photos", "run", *words.split()).run()
    assert message in str(caught.value)
    assert os.listdir() == ["photos"]


def test_a_run_that_exists_is_refused_before_packing(photos, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_bytes(b"")
    with pytest.raises(FileExistsError, match="already holds a training"):
        parse("photos", "run").run()


def test_the_papers_schedule_without_validation_images_is_refused_before_packing(photos):
    (photos / "train").mkdir()
    for name in CLASSES:
        (photos / name).rename(photos / "train" / name)
    for name in CLASSES:  # one image of each class: none can be held out
        for number in (1, 2, 3):
            (photos / "train" / name / f"{number}.png").unlink()
    with pytest.raises(ValueError, match="no validation images"):
        parse("photos", "run", "--recipe", "paper").run()


def test_a_disk_that_is_too_small_is_refused_before_packing(photos, monkeypatch):
    class Usage:
        free = 1 << 20

    monkeypatch.setattr(refusals.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(OSError, match=r"need about .* GB, and 0\.0 GB are free"):
        parse("photos", "run", "--network", "alexnet").run()


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("runs/x photos", "alexnet train photos runs/x"),
        ("run photos", "alexnet train photos --resume run"),
        ("run", "the images come first"),
    ],
)
def test_a_run_in_the_place_of_the_images_is_answered_with_the_right_order(photos, words, right):
    (photos.parent / "run").mkdir()
    (photos.parent / "run" / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match="the images come first") as caught:
        parse(*words.split()).run()
    assert right in str(caught.value)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_images_in_the_place_of_the_run_are_answered_with_the_right_order(photos, command):
    run = photos.parent / "a run"
    run.mkdir()
    (run / "last.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=f"the run comes first: alexnet {command} 'a run' photos"):
        refusals.refuse_reversed(
            command, photos.relative_to(photos.parent), [run.relative_to(photos.parent)]
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--split foo", "it must be train, val or test"),
        ("--device cuda:77", "--device cuda:77"),
        ("--weights 1 2", "--weights has 2 numbers"),
    ],
)
def test_evaluate_refuses_wrong_options_before_packing(trained, photos, words, message):
    import tyro

    from alexnet.commands.evaluate import Evaluate

    with pytest.raises(ValueError, match=message):
        tyro.cli(Evaluate, args=[str(trained), "photos", *words.split()]).run()
    assert os.listdir() == ["photos"]


def test_a_dry_run_shows_the_training_and_writes_nothing(photos):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "alexnet",
            "train",
            "photos",
            "--dry-run",
            "--device",
            "cpu",
            *QUICK,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for text in (
        "9 train, 3 val; 3 classes",
        "Recipe:      `cifar` (the packed images are small (32×32))",
        "crop             28   (paper: 224)",
        "parameters, crops of 28×28",
        "Memory:      about",
        "for the checkpoints",
        "Run:         runs/photos-",
        "an epoch",
        "Nothing was written",
    ):
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert os.listdir() == ["photos"]


def test_the_printed_recipe_is_that_of_the_training(photos, tmp_path, capsys):
    assert parse("photos", "--print-config", *QUICK, "--epochs", "3").run() == 0
    first = capsys.readouterr().out
    (tmp_path / "a.toml").write_text(first)
    words = ["train", "photos", "--print-config", "--config", "a.toml"]
    again = subprocess.run(
        [sys.executable, "-m", "alexnet", *words], capture_output=True, text=True
    )
    assert again.stdout.splitlines()[1:] == first.splitlines()[1:]
    assert sorted(os.listdir()) == ["a.toml", "photos"]


FROZEN = "--recipe cifar --crop 28 --rates conv1=0 conv2=0 conv3=0 fc4=0"


@pytest.mark.parametrize("words", [FROZEN, f"{FROZEN}@2 --epochs 5", f"{FROZEN} --dry-run"])
def test_rates_that_freeze_every_layer_are_refused_before_packing(photos, words):
    with pytest.raises(ValueError, match="every layer is frozen"):
        parse("photos", "run", *words.split()).run()
    assert os.listdir() == ["photos"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--crop 999", "999"),
        (FROZEN, "every layer is frozen"),
        ("--recipe cifar --crop 28 --rates conv9=0", "no layer conv9"),
    ],
)
def test_a_dry_run_refuses_what_a_pack_makes_impossible(trained, monkeypatch, words, message):
    monkeypatch.chdir(trained.parent)
    before = sorted(os.listdir())
    with pytest.raises(ValueError, match=message):
        parse("images.pack", "new", "--dry-run", *words.split()).run()
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--layer fc77", "the network has no layer 'fc77'"),
        ("--device cuda:77", "--device cuda:77"),
    ],
)
def test_features_refuses_layer_and_device_before_packing(trained, photos, words, message):
    import tyro

    from alexnet.commands.features import Features

    with pytest.raises(ValueError, match=message):
        tyro.cli(Features, args=[str(trained), "photos", "index", *words.split()]).run()
    assert os.listdir() == ["photos"]


@pytest.mark.parametrize("name", ["labels.jpg", "labels"])
def test_a_figure_of_another_format_is_refused_before_anything_is_read(photos, name):
    from pathlib import Path

    from alexnet.commands.predict import Predict
    from alexnet.commands.similar import Similar

    message = r"written as \.png or \.svg"
    with pytest.raises(ValueError, match=message):
        Predict(Path("no run"), (photos,), figure=Path(name)).run()
    with pytest.raises(ValueError, match=message):
        Similar(Path("no run"), Path("no index"), (photos,), figure=Path(name)).run()
