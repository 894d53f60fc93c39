"""`alexnet predict`: formats, thresholds, archives, and images sorted into folders."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import picture

import alexnet.predict
from alexnet.commands import sorted_folder
from alexnet.commands.predict import Predict
from alexnet.commands.sorted_folder import SortedFolder, name_folder
from alexnet.sources.zip_members import ZipArchive, ZipMember


def save(path, label=1, number=900):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(label, number)).save(path)
    return path


@pytest.fixture(autouse=True)
def uncertain(monkeypatch):
    """A network that gives no class more than 0.8."""
    certain = alexnet.predict.classifier.predict_probabilities
    blur = lambda *arguments: 0.7 * certain(*arguments) + 0.1  # noqa: E731
    monkeypatch.setattr("alexnet.predict.classifier.predict_probabilities", blur)


@pytest.fixture
def images(tmp_path):
    """A folder with one image, one in a folder inside, and an archive of good and bad members."""
    folder = tmp_path / "images"
    first = save(folder / "a.png", 0)
    save(folder / "deep" / "er" / "b.png", 1)
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr("in/c.png", first.read_bytes())
        archive.writestr("../../up.png", first.read_bytes())
        archive.writestr("broken.png", b"\x89PNG\r\n\x1a\n nothing more")
    return folder


def predict(run, *paths, capsys, **options):
    """The exit status, stdout and stderr of the command."""
    status = Predict(run, tuple(paths), device="cpu", **options).run()
    out, err = capsys.readouterr()
    return status, out, err


def files_in(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if not x.is_dir())


def test_folders_and_archives_are_read_recursively_and_bad_members_have_a_reason(
    run, images, capsys
):
    before = files_in(images.parent)
    status, out, err = predict(run, images, capsys=capsys, format="json")
    rows = {Path(row["image"]).name: row for row in map(json.loads, out.splitlines())}
    assert list(rows) == ["a.png", "b.png", "c.png", "up.png", "broken.png"]
    assert rows["c.png"]["labels"] == rows["a.png"]["labels"]
    assert rows["c.png"]["image"] == str(images / "z.zip" / "in" / "c.png")
    assert rows["up.png"]["error"].startswith("unsafe_name: ")
    assert "error" in rows["broken.png"]
    assert (status, "2 of the images could not be read" in err) == (1, True)
    assert files_in(images.parent) == before


def test_a_damaged_archive_is_an_error_among_the_others(run, images, capsys):
    (images / "y.zip").write_bytes(b"no archive")
    _, out, _ = predict(run, images, capsys=capsys, format="json")
    rows = [json.loads(line) for line in out.splitlines()]
    errors = {Path(x["image"]).name: x["error"] for x in rows if "error" in x}
    assert errors["y.zip"].startswith("unreadable: no zip archive")
    assert len(rows) == 6


def test_the_keys_of_json_are_those_that_are_documented(run, images, capsys):
    for threshold, keys in (
        (None, {("image", "labels")}),
        (1.0, {("image", "labels", "unsure", "probability")}),
    ):
        _, out, _ = predict(run, images, capsys=capsys, format="json", threshold=threshold)
        rows = [json.loads(line) for line in out.splitlines()]
        assert {tuple(row) for row in rows} == keys | {("image", "error")}
        labels = [label for row in rows for label in row.get("labels", [])]
        assert all(tuple(label) == ("label", "probability") for label in labels)


def test_the_columns_of_csv_are_those_that_are_documented(run, images, capsys):
    _, out, _ = predict(run, images, capsys=capsys, format="csv")
    assert out.splitlines()[0] == "image,rank,label,probability,error"
    _, out, _ = predict(run, images, capsys=capsys, format="csv", threshold=1.0)
    rows = [row for row in csv.DictReader(io.StringIO(out)) if not row["error"]]
    assert [(row["rank"], row["label"]) for row in rows] == [("", "unsure")] * 3
    assert all(0 < float(row["probability"]) < 1 for row in rows)
    text = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
    assert "image, rank, label, probability, error" in text
    assert '"labels": [], "unsure": true, "probability": 0.41}' in text


def test_images_below_the_threshold_are_unsure_and_counted(run, images, capsys):
    status, out, err = predict(run, images / "a.png", capsys=capsys, threshold=1.0)
    assert (status, "below 100.00%" in out) == (0, True)
    assert "unsure: 1 of 1 image" in err
    _, out, err = predict(run, images / "a.png", capsys=capsys, threshold=0.0)
    assert "unsure" not in out
    assert "unsure: 0 of 1 image" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 80}, "from 0 to 1"),
        ({"top": 0}, "at least one label"),
        ({"link": True}, "--sort-into FOLDER"),
    ],
)
def test_senseless_options_are_refused_before_anything_is_loaded(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Predict(tmp_path / "no run", (tmp_path,), **options).run()


def test_images_are_sorted_by_label_and_a_repetition_adds_nothing(run, images, tmp_path, capsys):
    into = tmp_path / "sorted"
    _, _, err = predict(run, images, capsys=capsys, sort_into=into)
    found = files_in(into)
    assert Counter(Path(name).name for name in found) == Counter(["a.png", "b.png", "c.png"])
    assert "3 images copied" in err
    _, _, err = predict(run, images, capsys=capsys, sort_into=into)
    assert "0 images copied" in err
    assert files_in(into) == found
    _, _, err = predict(run, images, capsys=capsys, sort_into=into, threshold=1.0)
    assert "3 of them in" in err
    assert len(files_in(into / "unsure")) == 3


def test_links_lead_to_the_images_and_images_of_archives_are_copied(run, images, tmp_path, capsys):
    into = tmp_path / "linked"
    for _ in range(2):
        predict(run, images, capsys=capsys, sort_into=into, link=True)
        paths = {path.name: path for path in into.rglob("*.png")}
        assert {name: path.is_symlink() for name, path in paths.items()} == {
            "a.png": True, "b.png": True, "c.png": False,
        }  # fmt: skip
    assert paths["a.png"].resolve() == images / "a.png"


def test_a_sorted_folder_among_the_images_is_refused(run, images):
    with pytest.raises(ValueError, match="outside of it"):
        Predict(run, (images,), sort_into=images / "sorted").run()


def test_no_file_is_overwritten_and_equal_names_are_numbered(tmp_path):
    folder = SortedFolder(tmp_path / "sorted")
    first = save(tmp_path / "1" / "x.png", number=1)
    second = save(tmp_path / "2" / "x.png", number=2)
    (tmp_path / "sorted" / "cat").mkdir()
    (tmp_path / "sorted" / "cat" / "x.png").write_bytes(b"the user's own")
    for _ in range(2):
        assert [folder.add(path, "cat").name for path in (first, second)] == [
            "x (2).png",
            "x (3).png",
        ]
    assert (tmp_path / "sorted" / "cat" / "x.png").read_bytes() == b"the user's own"
    assert (folder.counts["new"], folder.counts["there"]) == (2, 2)


HOSTILE = [
    "..", ".", "", "/", "/etc", "../../up", "a/b", "a\\b", "c:d", ".hidden", "x\0y", "\x1b[2J",
    "unsure", "Unsure", "%75nsure", "end. ", "n" * 5000, "中" * 500, "\udcff", "con\n",
]  # fmt: skip


def test_no_label_leads_out_of_the_folder_and_no_two_share_one(tmp_path):
    image, folder = save(tmp_path / "x.png"), SortedFolder(tmp_path / "sorted")
    paths = [folder.add(image, label) for label in HOSTILE]
    assert {path.resolve().parent.parent for path in paths} == {(tmp_path / "sorted").resolve()}
    assert len({path.parent for path in paths}) == len(HOSTILE)
    assert not any(path.parent.name.startswith(".") for path in paths)
    assert name_folder("tench, Tinca tinca") == "tench, Tinca tinca"


@pytest.mark.parametrize("name", ["a\\..\\..\\x.png", "x/%2e.png", "d/a\x1b:b.png", "n" * 3000])
def test_no_name_in_an_archive_leads_out_of_the_folder(tmp_path, name):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"content")
    folder = SortedFolder(tmp_path / "sorted")
    with ZipArchive(path) as archive:
        members = [item for item in archive.walk() if isinstance(item, ZipMember)]
    for member in members:
        assert folder.add(member, "cat").resolve().parent == (tmp_path / "sorted/cat").resolve()


def test_images_are_not_sorted_through_a_link(tmp_path):
    image, folder = save(tmp_path / "x.png"), SortedFolder(tmp_path / "sorted")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sorted" / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link"):
        folder.add(image, "cat")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_killed_copy_leaves_no_part_of_an_image_under_its_name(tmp_path):
    image, into = save(tmp_path / "x.png"), tmp_path / "sorted"
    program = (
        "import os, pathlib, sys; from alexnet.commands import sorted_folder as s\n"
        "def write(origin, draft): draft.write_bytes(b'half'); os._exit(9)\n"
        "s._write = write; into, image = map(pathlib.Path, sys.argv[1:])\n"
        "s.SortedFolder(into).add(image, 'cat')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(into), str(image)])
    assert done.returncode == 9
    assert not (into / "cat" / "x.png").exists()
    SortedFolder(into).add(image, "cat")
    assert os.listdir(into / "cat") == ["x.png"]
    assert (into / "cat" / "x.png").read_bytes() == image.read_bytes()


def test_a_file_that_appears_while_an_image_is_copied_is_not_overwritten(tmp_path, monkeypatch):
    image, folder = save(tmp_path / "x.png"), SortedFolder(tmp_path / "sorted")
    write = sorted_folder._write

    def appear(origin, draft):
        write(origin, draft)
        (tmp_path / "sorted" / "cat" / "x.png").write_bytes(b"another's")
        monkeypatch.setattr(sorted_folder, "_write", write)

    monkeypatch.setattr(sorted_folder, "_write", appear)
    assert folder.add(image, "cat").name == "x (2).png"
    assert (tmp_path / "sorted" / "cat" / "x.png").read_bytes() == b"another's"
