"""Folders of images, also tiny and unbalanced ones: packed, trained on, evaluated, predicted."""

import dataclasses
import json
import os

import pytest
from PIL import Image

import alexnet
from alexnet import checkpoint
from alexnet.cli import main
from alexnet.evaluation.counts import Counts
from alexnet.evaluation.measured_pack import derive_pack_options, is_run, open_training_pack
from alexnet.evaluation.scores import evaluate_run, match_classes
from alexnet.packing.automatic import pack_next_to_run
from alexnet.packing.pack import pack, pack_images
from alexnet.recipes.named import RECIPES, packed_side
from alexnet.runs import check_folder
from alexnet.sources import Entry, Source, open_source
from alexnet.training.train import train
from tests.conftest import CLASSES, QUICK, picture, pictures

QUICKLY = ["--recipe", "cifar", "--epochs", "1", "--device", "cpu"]


def write_photos(folder, counts, side=40, first=0):
    """Write `counts[name]` PNG files for each class and return the folder."""
    for label, (name, images) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(images):
            image = Image.fromarray(picture(label % 3, first + 1000 * label + number, side))
            image.save(folder / name / f"{number}.png")
    return folder


def command(*words):
    """Run a command in this process and return its exit status."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on images padded to 32×32, of three classes; returns its folder and the images'."""
    place = tmp_path_factory.mktemp("folders")
    images = write_photos(place / "photos", dict.fromkeys(CLASSES, 8))
    made = pack_images(images, place / "photos.pack", size=32, fit="pad", processes=1)
    recipe = dataclasses.replace(QUICK, epochs=1)
    return train(made, place / "runs" / "first", recipe, device="cpu").run, images


@pytest.mark.parametrize(
    ("counts", "held_out"),
    [
        ({"a": 2, "b": 1}, {"a": 1, "b": 0}),
        ({"a": 1, "b": 60}, {"a": 0, "b": 6}),
        ({"a": 3, "b": 3, "nothing": 0}, {"a": 1, "b": 1, "nothing": 0}),
        ({"car": 4, "train": 4}, {"car": 1, "train": 1}),
        ({f"c{i}": 10 for i in range(10)}, {f"c{i}": 1 for i in range(10)}),
        ({"a": 1, "b": 1}, {}),
    ],
)
def test_tiny_and_unbalanced_sets_can_be_trained_on_evaluated_and_predicted(
    tmp_path, capsys, counts, held_out
):
    images, run = write_photos(tmp_path / "images", counts), tmp_path / "runs" / "run"
    assert command("train", images, run, *QUICKLY) == 0
    made = alexnet.open_pack(tmp_path / "runs" / "images.pack")
    assert made.classes == tuple(sorted(counts))
    assert (made.size, made.metadata["fit"]) == (36, "crop")
    empty = [line for line in (made.path / "skipped.jsonl").read_text().splitlines() if line]
    assert len(empty) == list(counts.values()).count(0)
    status = command("evaluate", run, "--per-class", "--json", "--device", "cpu")
    out, err = capsys.readouterr()
    if held_out:
        assert status == 0
        seen = {
            name: row["seen"]
            for name, row in json.loads(out[out.index("{") :])["per_class"].items()
        }
        assert seen == held_out
        assert command("evaluate", run, "--per-class", "--device", "cpu") == 0
        table = capsys.readouterr().out.splitlines()
        first = next(i for i, line in enumerate(table) if line.endswith("class")) + 1
        rows = table[first : first + len(counts)]
        assert [line.split()[-1] for line in rows] == sorted(counts)
    else:
        assert status == 1
        assert "has no val images; it has train" in err
        assert "no class has a second image" in err
    assert command("predict", run, images, "--device", "cpu") == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("counts", [{"only": 5}, {"only": 5, "nothing": 0}])
def test_training_on_one_class_is_rejected_with_advice(tmp_path, capsys, counts):
    images = write_photos(tmp_path / "images", counts)
    assert command("train", images, tmp_path / "run", *QUICKLY) == 1
    assert "another class" in (told := capsys.readouterr().err) or "in a separate folder" in told
    assert "'only'" in told
    assert not (tmp_path / "run").exists()


def test_a_new_pack_gets_the_size_and_fit_of_the_network_that_training_starts_from(
    trained, tmp_path, capsys
):
    run, images = trained
    options = ["--init", run, "--epochs", 1, "--device", "cpu"]
    assert command("train", images, tmp_path / "run", *options) == 0
    made = alexnet.open_pack(tmp_path / "photos.pack")
    assert (made.size, made.metadata["fit"], made.pixels) == (32, "pad", "rgb")
    assert f"32×32 (fit: pad), as the network of {run}" in capsys.readouterr().err


def test_a_pack_of_another_size_than_the_initial_network_causes_a_warning(
    trained, tmp_path, capsys
):
    run, images = trained
    made = pack_images(images, tmp_path / "large.pack", size=48, processes=1)
    options = ["--init", run, "--epochs", 1, "--device", "cpu"]
    assert command("train", made.path, tmp_path / "run", *options) == 0
    told = capsys.readouterr().err
    assert "trained on images of 32×32 pixels, and those of" in told
    assert "--size 32" in told


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--network", "cifar"], 36),
        (["--network", "cifar-13pct"], 27),
        (["--recipe", "digits"], 32),
        (["--recipe", "cifar", "--crop", "28"], 32),
        (["--network", "cifar", "--crop", "42"], 48),
    ],
)
def test_the_size_of_a_new_pack_follows_from_the_crop_of_the_recipe(tmp_path, options, size):
    images = write_photos(tmp_path / "images", {"a": 2, "b": 2})
    words = [*options, "--epochs", 1, "--device", "cpu"]
    assert command("train", images, tmp_path / "run", *words) == 0
    assert alexnet.open_pack(tmp_path / "images.pack").size == size
    kept = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert packed_side(kept["crop"]) == size


def test_the_crop_of_the_paper_needs_images_of_256_pixels():
    assert packed_side(RECIPES["paper"].crop) == 256


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--crop", "300"], "cuts 300×300 pixels out of images, which would be packed 32×32"),
        (["--network", "nothing"], "no network is called 'nothing'"),
        (["--recipe", "nothing"], "--recipe nothing: that is no recipe"),
        (["--variations", "unit=foo"], "unit is 'foo'"),
    ],
)
def test_an_invalid_recipe_is_rejected_before_images_are_packed(
    trained, tmp_path, capsys, options, told
):
    run, images = trained
    assert command("train", images, tmp_path / "new" / "run", "--init", run, *options) in (1, 2)
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_runs_and_packs_are_never_written_into_a_folder_of_images(
    trained, tmp_path, capsys, monkeypatch
):
    _, images = trained
    made = images.with_name("photos.pack")
    others = write_photos(tmp_path / "others", {"a": 1, "b": 1})
    monkeypatch.chdir(images)
    for words in (
        (made, others),
        (others, others),
        (images, images / "run"),
        (made, images / "run"),
        (made, others / "a" / "0.png"),
        (".",),
    ):
        assert command("train", *words, *QUICKLY) == 1
        assert "for the run" in capsys.readouterr().err
    assert command("evaluate", others) == 1
    assert f"alexnet train IMAGES {others}" not in capsys.readouterr().err
    assert command("pack", images, others) == 1
    assert "is not empty and not a pack" in capsys.readouterr().err
    assert sorted(path.name for path in images.iterdir()) == sorted(CLASSES)
    assert sorted(path.name for path in others.iterdir()) == ["a", "b"]


def test_a_new_folder_an_empty_one_and_an_unfinished_run_are_accepted_for_a_run(tmp_path):
    nowhere = tmp_path / "images"
    check_folder(tmp_path / "new", nowhere)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    check_folder(tmp_path / "empty", nowhere)
    (tmp_path / "empty" / "recipe.json").touch()
    check_folder(tmp_path / "empty", nowhere)


@pytest.fixture
def unseen(tmp_path):
    """Images that are not in the training set, in one folder per class."""
    return write_photos(tmp_path / "photos_test", dict.fromkeys(CLASSES, 3), first=500)


def test_a_folder_is_evaluated_whole_with_the_packing_settings_of_the_network(
    trained, unseen, capsys
):
    run, _ = trained
    assert command("evaluate", run, unseen, "--json", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["seen"], found["split"]) == (9, "val")
    made = alexnet.open_pack(found["pack"]["path"])
    assert made.path == run.parent / "photos_test.pack"
    assert (made.size, made.facts["fit"]) == (32, "pad")
    assert "all its images are evaluated" in err
    assert evaluate_run(run, unseen, device="cpu").counts.seen == 9
    assert alexnet.evaluate(run, str(unseen), device="cpu").pack == made.path
    assert sorted(path.name for path in unseen.iterdir()) == sorted(CLASSES)


def test_lists_and_archives_give_the_same_scores_as_folders(trained, unseen, tmp_path, capsys):
    import tarfile

    run, _ = trained
    lines = [f"{p.relative_to(tmp_path)},{p.parent.name}" for p in unseen.rglob("*.png")]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        archive.add(unseen, "archive")
    wrong = set()
    for images in (unseen, tmp_path / "list.csv", tmp_path / "archive.tar.gz"):
        assert command("evaluate", run, images, "--json", "--device", "cpu") == 0
        found = json.loads(capsys.readouterr().out)
        wrong.add((found["seen"], found["wrong1"], round(found["loss"], 9)))  # order of the sum
    assert len(wrong) == 1


def test_the_splits_of_an_evaluated_folder_are_kept_separate(trained, tmp_path, capsys):
    run, _ = trained
    images = tmp_path / "divided"
    write_photos(images / "train", dict.fromkeys(CLASSES, 2))
    write_photos(images / "val", dict.fromkeys(CLASSES, 1))
    counted = {}
    for split in ("val", "train"):
        words = ["evaluate", run, images, "--split", split, "--json", "--device", "cpu"]
        assert command(*words) == 0
        counted[split] = json.loads(capsys.readouterr().out)["seen"]
    assert counted == {"val": 3, "train": 6}
    assert command("evaluate", run, images, "--split", "test") == 1
    assert "has no test images; it has train, val" in capsys.readouterr().err


def test_evaluating_the_folder_trained_on_uses_its_validation_images_only(trained, capsys):
    run, images = trained
    assert command("evaluate", run, images, "--json", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["seen"] == 3
    assert f"was trained on {images}: measured as in {images}.pack" in err
    assert evaluate_run(run, images, device="cpu").counts.seen == 3
    assert open_training_pack(run, images.parent) is None


def test_relative_paths_written_by_earlier_versions_are_followed_only_on_request(
    trained, tmp_path, monkeypatch
):
    _, images = trained
    facts = json.loads(images.with_name("photos.pack").joinpath("pack.json").read_text())
    facts["source"]["path"] = "photos"
    copy = tmp_path / "copy.pack"
    copy.mkdir()
    for path in images.with_name("photos.pack").iterdir():
        os.symlink(path, copy / path.name)
    (copy / "pack.json").unlink()
    (copy / "pack.json").write_text(json.dumps(facts))
    (tmp_path / "run").mkdir()
    environment = {"pack": {"path": str(copy), "checksum": facts["checksum"]}}
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment))
    monkeypatch.chdir(images.parent)
    assert open_training_pack(tmp_path / "run", "photos") is None
    again = open_training_pack(tmp_path / "run", "photos", may_be_relative=True)
    assert again is not None
    assert again.path == copy


def test_images_of_unknown_classes_are_rejected_before_packing(trained, tmp_path, capsys):
    run, _ = trained
    images = write_photos(tmp_path / "pets", {"cat": 1, "dog": 1})
    assert command("evaluate", run, images) == 1
    assert "knows none of the classes of" in capsys.readouterr().err
    assert not (run.parent / "pets.pack").exists()


def test_classes_are_matched_by_wordnet_id_too(trained, tmp_path):
    run, _ = trained
    ids = ("n00000003", "n00000001", "n00000002")
    known = dataclasses.replace(checkpoint.load(checkpoint.find(run)), wordnet_ids=ids)
    images = write_photos(tmp_path / "images", dict.fromkeys(sorted(ids), 1))
    made = pack(
        open_source(images, evaluation_split="val"), tmp_path / "pack", size=32, processes=1
    )
    assert match_classes(known, made, "val", False).tolist() == [1, 2, 0]


def test_runs_packs_and_folders_of_images_are_distinguished(trained, tmp_path, capsys):
    run, images = trained
    assert is_run(run)
    assert is_run(run / "last.safetensors")
    assert not is_run(images)
    assert not is_run(images.with_name("photos.pack"))
    assert command("evaluate", run, tmp_path / "typo") == 1
    assert "name a run, a pack, or images" in capsys.readouterr().err
    both = ["evaluate", run, run, images.with_name("photos.pack"), "--device", "cpu"]
    assert command(*both) == 0
    assert "2 networks averaged" in capsys.readouterr().out


def test_a_resumed_training_uses_its_first_pack_although_images_were_added(tmp_path, capsys):
    images, run = write_photos(tmp_path / "images", {"a": 3, "b": 3}), tmp_path / "runs" / "run"
    assert command("train", images, run, *QUICKLY) == 0
    write_photos(images / "more", {"c": 1})  # what came since belongs to another pack
    assert command("train", images, "--resume", run, "--epochs", 2, "--device", "cpu") == 0
    assert "epoch 2/2" in capsys.readouterr().err
    assert sorted(path.name for path in run.parent.iterdir()) == ["images.pack", "run"]


def test_a_validation_split_without_a_usable_image_counts_as_missing(tmp_path):
    whole = pictures(train=10, val=0)
    broken = Entry("val", "val/broken.png", 0, b"no image")

    def stream(split):
        yield from [broken] if split == "val" else whole.entries("train")

    source = Source("x", whole.path, CLASSES, None, ("train", "val"), (), 32, stream)
    made = pack(source, tmp_path / "pack", processes=1)
    assert len(made.splits["val"]) == 0
    recipe = dataclasses.replace(QUICK, epochs=1, schedule="cosine")
    run = train(made, tmp_path / "run", recipe, device="cpu").run
    with pytest.raises(ValueError, match="has no val images; it has train"):
        evaluate_run(run, device="cpu")
    with pytest.raises(ValueError, match="has no validation images"):
        train(made, tmp_path / "other", dataclasses.replace(recipe, schedule="plateau"))


def test_error_rates_of_no_images_raise_an_error():
    for name in ("top1", "top5", "loss"):
        with pytest.raises(ValueError, match="no image was evaluated"):
            getattr(Counts(3), name)


def test_packing_settings_can_be_read_from_a_checkpoint(trained):
    settings = derive_pack_options(checkpoint.load(checkpoint.find(trained[0])))
    assert {"size": 32, "fit": "pad", "pixels": "rgb"}.items() <= settings.items()


def test_a_pack_goes_into_the_folder_packs_if_the_runs_folder_is_read_only(
    trained, unseen, monkeypatch, tmp_path
):
    from alexnet.packing import automatic

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(automatic, "_is_writable", lambda folder: False)
    source = open_source(unseen, evaluation_split="val")
    assert pack_next_to_run(source, trained[0], "x", size=8, processes=1).path.parts == (
        "packs",
        "x.pack",
    )
