"""`pack`, `train` and `evaluate` use one pack of the same images, and keep it up to date."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import picture

from alexnet.cli import main
from alexnet.packs.pack import open_pack

QUICKLY = ["--recipe", "cifar", "--epochs", "1", "--device", "cpu"]


def write_photos(folder, names, first=0):
    for number, name in enumerate(names):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number % 3, first + number, 40)).save(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A current folder with photos of three classes."""
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos"), [f"{c}/{i}" for i in range(6) for c in ("car", "cat", "dog")])
    return tmp_path


def run(capsys, *words):
    """Run a command; return its exit status, what it printed on stdout, and on stderr."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return end.value.code, out, " ".join(err.split())


def list_packs(place):
    return sorted(str(path.parent.relative_to(place)) for path in place.rglob("pack.json"))


def test_pack_and_train_share_a_pack_and_say_where_it_is(place, capsys):
    assert run(capsys, "pack", "photos", "--size", "36", "--fit", "pad")[0] == 0
    status, _, err = run(capsys, "train", "photos", "runs/one", *QUICKLY)
    assert (status, "packs/photos.pack" in err) == (0, True)
    assert run(capsys, "train", "photos", *QUICKLY)[0] == 0
    assert list_packs(place) == ["packs/photos.pack"]


def test_a_pack_that_an_earlier_version_made_beside_the_runs_is_used(place, capsys):
    assert run(capsys, "pack", "photos", "runs/photos.pack", "--size", "36")[0] == 0
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    assert run(capsys, "pack", "photos", "--size", "36")[0] == 0
    assert list_packs(place) == ["runs/photos.pack"]


def test_the_held_out_images_of_a_pack_stay_held_out(place, capsys):
    assert run(capsys, "pack", "photos", "--size", "36", "--val-fraction", "0.5")[0] == 0
    status, _, err = run(capsys, "train", "photos", "runs/one", *QUICKLY)
    assert (status, "chosen as in packs/photos.pack (val_fraction 0.5" in err) == (0, True)
    assert run(capsys, "pack", "photos", "--size", "36")[0] == 0
    assert len(open_pack("packs/photos.pack").splits["val"]) == 9
    assert list_packs(place) == ["packs/photos.pack"]


def test_what_changed_is_packed_measured_and_said(place, capsys):
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    before = open_pack("packs/photos.pack").checksum
    described = json.loads(Path("runs/one/environment.json").read_text())["pack"]
    assert described["checksum"] == before
    write_photos(Path("photos"), [f"{c}/{i}" for i in range(10, 26) for c in ("car", "dog")], 100)
    status, out, err = run(capsys, "evaluate", "runs/one", "photos", "--json", "--device", "cpu")
    after = open_pack("packs/photos.pack").checksum
    assert (status, json.loads(out)["pack"]["checksum"]) == (0, after)
    assert json.loads(out)["seen"] == 5
    assert "photos has changed since" in err
    assert "18 images kept as before, 32 files decoded" in err
    assert f"was trained (checksum {before[:12]}…, now {after[:12]}…)" in err
    assert list_packs(place) == ["packs/photos.pack"]
    assert "has changed since" in run(capsys, "evaluate", "runs/one", "--device", "cpu")[2]
    status, _, err = run(capsys, "train", "photos", "runs/one", "--resume", "--epochs", "2")
    assert status == 1
    assert "an earlier version of this one" in err
    assert "--init" in err
    status, _, err = run(capsys, "train", "photos", "runs/two", "--init", "runs/one", *QUICKLY)
    assert (status, "the network may have been trained on some of them" in err) == (0, True)


def test_a_resumed_training_goes_on_with_the_images_as_they_were(place, capsys):
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    write_photos(Path("photos"), ["car/new"], 100)
    options = ["--resume", "--epochs", "2", "--device", "cpu"]
    status, _, err = run(capsys, "train", "photos", "runs/one", *options)
    assert status == 0
    assert "photos has changed since this training began" in err


def test_other_images_of_the_same_name_get_a_pack_of_their_own(place, capsys):
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    write_photos(Path("later/photos"), ["car/1", "cat/2", "dog/3"], 100)
    for _ in range(2):
        assert run(capsys, "evaluate", "runs/one", "later/photos", "--device", "cpu")[0] == 0
        write_photos(Path("later/photos"), ["car/4"], 200)
    other = "packs/photos-36-crop-rgb-upright-val.pack"
    assert list_packs(place) == [other, "packs/photos.pack"]
    assert len(open_pack(other).splits["val"]) == 4


def test_images_that_are_gone_do_not_hinder_what_needs_only_the_pack(place, capsys):
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    shutil.rmtree("photos")
    assert run(capsys, "evaluate", "runs/one", "--device", "cpu")[0] == 0


def test_what_cannot_be_measured_is_refused_before_it_is_packed(place, capsys):
    assert run(capsys, "train", "photos", "runs/one", *QUICKLY)[0] == 0
    write_photos(Path("later"), ["train/car/1", "train/cat/2", "val/car/3", "val/tree/4"], 100)
    status, _, err = run(capsys, "evaluate", "runs/one", "later", "--split", "test")
    assert (status, "has no test images" in err) == (1, True)
    write_photos(Path("more"), ["car/1", "cat/2", "tree/3"], 100)
    status, _, err = run(capsys, "evaluate", "runs/one", "more", "--device", "cpu")
    assert (status, "does not know the class of tree/3.png" in err) == (1, True)
    assert list_packs(place) == ["packs/photos.pack"]
    words = "evaluate", "runs/one", "more", "--ignore-unknown", "--device", "cpu"
    assert run(capsys, *words)[0] == 0


def test_options_of_another_use_of_the_command_are_refused(place, capsys):
    status, _, err = run(capsys, "pack", "photos", "--sheet", "sheet.png")
    assert (status, "alexnet pack --info PACK --sheet" in err) == (1, True)
    status, _, err = run(capsys, "pack", "photos", "--info", "packs/photos.pack")
    assert (status, "give one of them" in err) == (1, True)
    assert list_packs(place) == []
