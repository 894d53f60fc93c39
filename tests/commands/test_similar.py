"""`alexnet similar` as a user types it: table, CSV, JSON and figure."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from tests.conftest import picture

from alexnet.commands.similar import Similar
from alexnet.search.build import build_index


@pytest.fixture(scope="module")
def index(run, tiny_pack, tmp_path_factory):
    return build_index(run, tiny_pack, tmp_path_factory.mktemp("index") / "x", device="cpu").path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with a picture, and a file that is none."""
    folder = tmp_path_factory.mktemp("queries")
    Image.fromarray(picture(0, 900)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"nothing at all")
    return folder


def test_json_has_an_object_per_image(run, index, images):
    words = ["similar", run, index, images / "a.png", "-k", 2, "--format", "json", "--split", "val"]
    command = [sys.executable, "-m", "alexnet", *map(str, words), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["image"] == str(images / "a.png")
    assert [x["split"] for x in found["similar"]] == ["val", "val"]
    assert found["similar"][0].keys() == {"image", "split", "index", "label", "distance"}


@pytest.mark.parametrize("style", ["table", "csv", "json"])
def test_a_damaged_and_a_missing_file_are_reported_in_their_place(
    run, index, images, capsys, style
):
    named = (images / "a.png", images / "b.png", images / "\x1bc.png")
    assert Similar(run, index, named, 3, format=style, device="cpu").run() == 1
    output = capsys.readouterr()
    assert "2 of the images could not be read" in output.err
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(output.out)))
        assert [row["rank"] for row in rows] == ["1", "2", "3", "", ""]
        assert float(rows[0]["distance"]) <= float(rows[1]["distance"])
        assert "No such file" in rows[4]["error"]
    elif style == "json":
        assert [len(json.loads(x).get("similar", ())) for x in output.out.splitlines()] == [3, 0, 0]
    else:
        assert output.out.count("error: ") == 2
        assert r"\x1bc.png" in output.out
        assert "  rings" in output.out


def test_a_figure_shows_the_images_of_the_pack(run, index, images, tmp_path, capsys):
    figure = tmp_path / "similar.png"
    assert Similar(run, index, (images / "a.png",), figure=figure, device="cpu").run() == 0
    with Image.open(figure) as drawn:
        assert drawn.width > 4 * drawn.height
        assert len(drawn.convert("L").getcolors()) > 50


def test_the_pack_of_a_figure_can_be_named_and_must_be_the_same(
    run, index, images, tiny_pack, tmp_path, capsys
):
    from tests.conftest import pictures

    from alexnet.packing.pack import pack

    options = {"figure": tmp_path / "x.png", "device": "cpu"}
    assert Similar(run, index, (images / "a.png",), pack=tiny_pack.path, **options).run() == 0
    other = pack(pictures(2, 0), tmp_path / "other.pack", processes=1).path
    with pytest.raises(ValueError, match="which has other images"):
        Similar(run, index, (images / "a.png",), pack=other, **options).run()


def test_nothing_to_search_with_is_an_error(run, index, tmp_path):
    with pytest.raises(ValueError, match="no images were named"):
        Similar(run, index, ()).run()
    with pytest.raises(ValueError, match="there are no image files in"):
        Similar(run, index, (tmp_path,), device="cpu").run()


def test_codes_find_what_exact_search_finds_if_every_image_is_a_candidate(
    run, index, images, tmp_path, capsys
):
    from alexnet.search.autoencoder import EncoderOptions
    from alexnet.search.code_training import train_codes

    copy = shutil.copytree(index, tmp_path / "x")
    named = (images / "a.png",)
    with pytest.raises(FileNotFoundError, match=r"has no binary codes\. Make them: alexnet codes"):
        Similar(run, copy, named, codes=True, device="cpu").run()
    codes = train_codes(copy, EncoderOptions(bits=64, steps=5))
    for metric in ("euclidean", "cosine"):
        printed = []
        for by_codes in (False, True):
            options = {"metric": metric, "codes": by_codes, "format": "json", "device": "cpu"}
            assert Similar(run, copy, named, len(codes), **options).run() == 0
            printed.append(json.loads(capsys.readouterr().out))
        assert printed[0] == printed[1]
