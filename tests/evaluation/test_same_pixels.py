"""Packing, evaluation and prediction use the same pixels, and agree to the last bit."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import CLASSES, picture
from tests.conftest import TRAINED as RECIPE

import alexnet
from alexnet import checkpoint as checkpoints
from alexnet.batches.preprocessing import Preprocessing
from alexnet.evaluation.counts import VIEWS_PER_BATCH
from alexnet.evaluation.ensemble import predict_split
from alexnet.sources.entry import Source
from alexnet.training.train import train

SIZE = 32


def write_kinds(folder, label):
    """Write a file of every kind that decoding treats differently."""
    folder.mkdir(parents=True)

    def save(name, side, mode="RGB", cut=1.0, orientation=None, **options):
        pixels = picture(label, len(list(folder.iterdir())), side)
        image = Image.fromarray(pixels[: int(cut * side)]).convert(mode)
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        image.save(folder / name, exif=exif, **options)

    for orientation in range(1, 9):
        save(f"turned{orientation}.jpg", 90, cut=0.7, orientation=orientation)
    save("turned6.png", 90, cut=0.7, orientation=6)
    for side in (31, 32, 63, 65, 127, 129, 260, 700):
        save(f"side{side}.jpg", side, cut=0.8, quality=90)
    save("progressive.jpg", 300, progressive=True)
    save("gray.jpg", 200, mode="L")
    save("cmyk.jpg", 200, mode="CMYK")
    save("clear.png", 60, mode="RGBA")
    save("palette.gif", 60, mode="P")
    save("webp.webp", 150, cut=0.5, orientation=8)
    (folder / "broken.jpg").write_bytes((folder / "gray.jpg").read_bytes()[:300])
    for number in range(25):
        save(f"x{number}.png", SIZE)


@pytest.fixture(scope="module", params=["rgb", "yuv420"])
def trained(request, tmp_path_factory):
    """A run on files of many kinds, its pack, and the folder of the files."""
    folder = tmp_path_factory.mktemp("same") / "files"
    for label, name in enumerate(CLASSES):
        write_kinds(folder / "val" / name, label)
        (folder / "train" / name).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(picture(label, 1000 + number))
            image.save(folder / "train" / name / f"{number}.png")
    options = {"size": SIZE, "pixels": request.param, "processes": 1}
    pack = alexnet.pack(folder, folder.with_name("pack"), **options)
    recipe = replace(RECIPE, epochs=1)
    run = train(pack, folder.with_name("run"), recipe, device="cpu").run
    return run, pack, folder


@pytest.fixture(scope="module")
def files(trained):
    """The validation images that the pack has, in its order."""
    _, pack, folder = trained
    files = [folder / name for name in pack.splits["val"].names]
    assert len(files) > VIEWS_PER_BATCH  # more than one batch
    return files


@pytest.mark.parametrize("views", [1, 10])
def test_predict_on_files_equals_evaluate_on_their_pack(trained, files, views):
    run, pack, _ = trained
    found = predict_split(run, pack.path, views=views, device="cpu").probabilities
    with alexnet.load(run, device="cpu") as classifier:
        assert np.array_equal(classifier.probabilities(files, views=views).numpy(), found)


def test_unreadable_images_do_not_change_the_others(trained, files):
    run, pack, folder = trained
    everything = sorted((folder / "val").rglob("*.*"))
    assert len(everything) == len(files) + 3
    wanted = predict_split(run, pack.path, device="cpu").probabilities.max(1).tolist()
    with alexnet.load(run, device="cpu") as classifier:
        order = {file: index for index, file in enumerate(files)}
        given = sorted(everything, key=lambda file: order.get(file, 40))
        found = list(classifier.stream(given))
    assert [x.probabilities[0] for x in found if x.error is None] == wanted
    assert [x.name for x in found] == list(map(str, given))
    assert sum(x.error is not None and "truncated" in x.error for x in found) == 3


def test_the_commands_print_the_same_probabilities(trained, files, tmp_path):
    run, pack, _ = trained
    words = [sys.executable, "-m", "alexnet"]
    dump = [*words, "evaluate", run, pack.path, "--dump", tmp_path / "x.npz", "--device", "cpu"]
    subprocess.run(dump, check=True, capture_output=True)
    asked = [*words, "predict", run, *files, "--format", "json", "--top", "3", "--device", "cpu"]
    lines = subprocess.run(asked, check=True, capture_output=True).stdout.splitlines()
    found = [{x["label"]: x["probability"] for x in json.loads(line)["labels"]} for line in lines]
    with np.load(tmp_path / "x.npz") as file:
        wanted = file["probabilities"]
    assert [[row[name] for name in pack.classes] for row in found] == wanted.tolist()


def test_records_of_files_are_those_of_the_pack(trained, files):
    run, pack, _ = trained
    with alexnet.load(run, device="cpu") as classifier:
        records = np.concatenate(list(classifier._iterate_records(files)))
    wanted = pack.splits["val"].gather(range(len(files)))
    assert np.array_equal(records, wanted)


def test_neighbors_change_nothing_in_a_batch_of_the_same_size(trained, files):
    with alexnet.load(trained[0], device="cpu") as classifier:
        one = classifier.probabilities([files[0], *files[1:9]])
        other = classifier.probabilities([files[0], *files[11:19]])
    assert torch.equal(one[0], other[0])


def test_orientation_is_applied_and_remembered(trained, tmp_path):
    run, pack, folder = trained
    assert pack.metadata["upright"] is True
    assert checkpoints.load(checkpoints.find(run)).preprocessing.upright is True
    lying = alexnet.pack(folder, tmp_path / "pack", size=SIZE, upright=False, processes=1)
    assert lying.facts["upright"] is False
    assert Preprocessing.of(lying, RECIPE).upright is False


@pytest.mark.parametrize(("kind", "upright"), [("folder", True), ("ilsvrc2012", False)])
def test_images_of_the_challenge_are_not_rotated_by_default(tmp_path, kind, upright):
    from alexnet.packing.pack import pack
    from alexnet.sources.entry import Entry

    def stream(split):
        yield Entry(split, "x.png", 0, picture(0, 1))

    source = Source(kind, tmp_path / "source", ("a",), None, ("train",), (), 32, stream)
    assert pack(source, tmp_path / "pack", processes=1).metadata["upright"] is upright
    assert pack(source, tmp_path / "other", upright=True, processes=1).metadata["upright"] is True


def test_packs_and_checkpoints_of_earlier_versions_do_not_rotate_images(trained, tmp_path):
    run, _, folder = trained
    packed = alexnet.pack(folder, tmp_path / "pack", size=SIZE, upright=False, processes=1)
    again = alexnet.pack(folder, tmp_path / "pack", size=SIZE, processes=1)  # not refused
    assert again.checksum == packed.checksum
    facts = dict(packed.metadata)
    del facts["upright"]
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(facts))
    assert Preprocessing.of(alexnet.open_pack(tmp_path / "pack"), RECIPE).upright is False
    checkpoint = checkpoints.load(checkpoints.find(run))
    settings = checkpoint.preprocessing.settings()
    del settings["upright"]
    preprocessing = Preprocessing.restore(settings, checkpoint.preprocessing.tensors())
    assert preprocessing.upright is False
