"""The commands as a user types them, each in a process of its own."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from alexnet import __version__
from tests.conftest import CLASSES, picture

ALEXNET = [sys.executable, "-m", "alexnet"]
QUICK = [
    "--network",
    "cifar",
    "--initialization",
    "variance",
    "--crop",
    "28",
    "--batch-size",
    "16",
    "--dropout",
    "0",
]
QUICK += [
    "--learning-rate",
    "0.02",
    "--pixel-scale",
    "0.0156",
    "--schedule",
    "cosine",
    "--device",
    "cpu",
]


def alexnet(*arguments, **options):
    """Run a command and return the finished process, with its output as text."""
    words = [*ALEXNET, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of labeled images: train/<class>/*.png, val/<class>/*.png."""
    root = tmp_path_factory.mktemp("images") / "patterns"
    for split, count, first in (("train", 30, 0), ("val", 8, 500)):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(picture(label, first + number))
                image.save(root / split / name / f"{number:03}.png")
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A run made by `alexnet pack` and `alexnet train`, and the finished process of the latter."""
    place = tmp_path_factory.mktemp("runs")
    packed = alexnet("pack", folder, place / "patterns.pack", "--size", 32)
    assert packed.returncode == 0, packed.stderr
    run = place / "patterns"
    done = alexnet(
        "train", place / "patterns.pack", run, "--recipe", "paper", "--epochs", 12, *QUICK
    )
    assert done.returncode == 0, done.stderr
    return run, done


def measure_fastest(*arguments):
    """Return the shortest wall time of three runs of a command, in seconds."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        alexnet(*arguments)
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["pak"], []])
def test_help_version_and_usage_errors_do_not_import_torch(arguments):
    code = (
        "import sys; from alexnet.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(77 if 'torch' in sys.modules or 'numpy' in sys.modules else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_takes_under_half_a_second_plus_four_starts_of_python():
    bare = min(_start_python() for _ in range(3))
    assert measure_fastest("--help") < 0.5 + 4 * bare  # a busy machine is slow at everything


def _start_python():
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"])
    return time.perf_counter() - began


def test_the_version_option_prints_the_version_of_the_package():
    assert alexnet("--version").stdout.strip() == f"alexnet {__version__}"


def test_a_misspelled_option_is_a_usage_error_with_a_suggestion():
    done = alexnet("train", "x", "--learnign-rate", 1)
    assert done.returncode == 2
    assert "--learning-rate" in done.stderr + done.stdout


def test_training_on_a_folder_first_packs_it_beside_the_run(folder, tmp_path):
    options = ["--recipe", "paper", "--epochs", 1, *QUICK]
    done = alexnet("train", folder, tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr
    assert "packing it first" in done.stderr
    assert (tmp_path / "patterns.pack" / "pack.json").exists()


def test_a_finished_training_prints_the_next_commands(trained):
    _, done = trained
    assert "alexnet evaluate" in done.stdout
    assert "alexnet predict" in done.stdout


def test_training_prints_the_recipe_and_its_differences_from_the_paper(trained):
    _, done = trained
    assert "Recipe `paper`" in done.stderr
    assert "learning_rate" in done.stderr
    assert "(paper: 0.01)" in done.stderr


def test_evaluate_prints_a_table_or_one_json_object_and_writes_scores(trained):
    run, _ = trained
    done = alexnet("evaluate", run, "--views", 10, "--json", "--device", "cpu")
    scores = json.loads(done.stdout)
    assert scores["seen"] == 24
    assert scores["top1_error"] < 0.45
    assert json.loads((run / "scores-val-10-views.json").read_text()) == scores
    text = alexnet("evaluate", run, "--per-class", "--device", "cpu").stdout
    assert json.loads((run / "scores.json").read_text())["views"] == 1
    assert "top-1 error" in text
    assert "stripes" in text


def test_predictions_can_be_saved_averaged_weighted_and_submitted(trained, tmp_path):
    run, here, cpu = trained[0], trained[0].parent / "patterns.pack", ["--device", "cpu"]
    options = ["--views", 5, "--dump", tmp_path / "one.npz", "--submission", tmp_path / "one.txt"]
    done = alexnet("evaluate", run, here, *options, *cpu)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "one.txt").read_text().splitlines()) == 24
    assert "numbered from 1 in the order" in done.stderr
    alone = alexnet("evaluate", run, "--views", 5, "--json", *cpu)
    both = [tmp_path / "one.npz"] * 2
    done = alexnet("evaluate", "--dumps", *both, "--search", "--json", "--out", tmp_path / "s.json")
    assert "--weights 1 1" in done.stderr
    scores = json.loads(done.stdout)
    assert scores["wrong1"] == json.loads(alone.stdout)["wrong1"]
    assert json.loads((tmp_path / "s.json").read_text()) == scores
    together = alexnet("evaluate", run, run, "--weights", 3, 1, *cpu)
    assert "2 networks averaged" in together.stdout
    assert "weight 0.75" in together.stdout
    without_run = alexnet("evaluate")
    assert without_run.returncode == 1
    assert "name a run" in without_run.stderr


@pytest.mark.parametrize("style", ["table", "csv", "json"])
def test_predict_reads_folders_and_continues_after_a_damaged_file(trained, folder, tmp_path, style):
    (tmp_path / "images").mkdir()
    for number in (0, 1):
        image = Image.fromarray(picture(1, 900 + number))
        image.save(tmp_path / "images" / f"{number}.jpg", quality=95)
    (tmp_path / "images" / "00-bad.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    run, _ = trained
    done = alexnet("predict", run, tmp_path / "images", "--format", style, "--device", "cpu")
    assert done.returncode == 1
    assert "1 of the images could not be read" in done.stderr
    if style == "json":
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert ["error" in row for row in rows] == [False, True, False]
        assert [len(row["labels"]) for row in rows if "labels" in row] == [3, 3]
    elif style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [bool(row["error"]) for row in rows] == [False] * 3 + [True] + [False] * 3
        assert [row["rank"] for row in rows] == ["1", "2", "3", "", "1", "2", "3"]
    else:
        assert done.stdout.count("stripes") == 2


def test_predict_finds_the_same_files_as_pack_and_lists_the_others(trained, tmp_path):
    folder = tmp_path / "images"
    for place in ("a", "b", ".hidden"):
        (folder / place).mkdir(parents=True)
        Image.fromarray(picture(1, 7)).save(folder / place / "1\x1b[2J.png")
    (folder / "a" / "notes.txt").write_text("none")
    (folder / "a" / "circle").symlink_to("..")
    os.mkfifo(folder / "a" / "pipe.png")
    os.mkfifo(tmp_path / "named.png")
    (folder / "b" / "zero").symlink_to("/dev/zero")
    run, _ = trained
    arguments = ("predict", run, tmp_path / "named.png", folder, "--device", "cpu", "--format")
    done = alexnet(*arguments, "json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["image"], row.get("error")) for row in rows] == [
        (f"{tmp_path}/named.png", "not_a_file: a folder, a pipe, a socket or a device"),
        (f"{folder}/a/1\x1b[2J.png", None),
        (f"{folder}/a/pipe.png", "not_a_file: a pipe, a socket or a device"),
        (f"{folder}/b/1\x1b[2J.png", None),
        (f"{folder}/b/zero", "not_a_file: a pipe, a socket or a device"),
    ]
    assert done.returncode == 1
    assert "3 of the images could not be read" in done.stderr
    for name in ".hidden", "a/notes.txt", "a/circle":
        assert f"left out: {folder}/{name} (" in done.stderr
    for style in "table", "csv":
        done = alexnet(*arguments, style)
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stdout.count("1\\x1b[2J.png") >= 2


def test_predict_draws_a_figure_with_the_option_figure(trained, folder, tmp_path):
    run, _ = trained
    picture_file = tmp_path / "labels.png"
    done = alexnet(
        "predict", run, folder / "val" / "rings", "--figure", picture_file, "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    with Image.open(picture_file) as image:
        assert image.width > 600


def test_a_missing_run_and_missing_images_are_errors_without_a_traceback(tmp_path):
    done = alexnet("predict", tmp_path / "nothing", tmp_path)
    assert done.returncode == 1
    assert "Train one: alexnet train" in done.stderr
    assert "Traceback" not in done.stderr
    done = alexnet("train", tmp_path / "nothing")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_an_interrupted_training_is_saved_and_prints_how_to_resume(trained, tmp_path):
    source = trained[0].parent / "patterns.pack"
    run = tmp_path / "run"
    words = [*ALEXNET, "train", source, run, "--recipe", "paper", "--epochs", 500, *QUICK]
    interruptible = (  # background processes of a script inherit SIGINT ignored
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "os.execv(sys.executable, sys.argv[1:])"
    )
    words = [sys.executable, "-c", interruptible, *map(str, words)]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not (run / "last.safetensors").exists():
        time.sleep(0.05)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, messages = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "--resume" in messages


def test_a_run_is_resumed_with_its_own_recipe(trained, tmp_path):
    source, run = trained[0].parent / "patterns.pack", tmp_path / "run"
    shutil.copytree(trained[0], run)
    done = alexnet("train", source, "--resume", run, "--epochs", 13, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "epoch 13/13" in done.stderr
    assert "epoch 12/" not in done.stderr
    done = alexnet("train", source, "--resume", run, "--learning-rate", 1, "--epochs", 14)
    assert done.returncode == 1
    assert "learning_rate 0.02 → 1" in done.stderr


def test_a_training_can_start_from_the_network_of_an_earlier_run(trained, tmp_path):
    source = trained[0].parent / "patterns.pack"
    options = ["--epochs", 1, "--rates", "conv1=0", "conv2=0.1", "--reset", "fc4"]
    done = alexnet("train", source, tmp_path / "run", "--init", trained[0], *options)
    assert done.returncode == 0, done.stderr
    assert "Taken from" in done.stderr
    assert "Newly drawn: fc4" in done.stderr
    assert "('conv1=0', 'conv2=0.1')" in done.stderr
    done = alexnet("train", source, "--init", trained[0], "--resume", trained[0])
    assert done.returncode == 1
    assert "give one of them" in done.stderr


def test_a_diverging_training_exits_with_status_3(trained, tmp_path):
    source = trained[0].parent / "patterns.pack"
    diverging = ["--learning-rate" if w == "--learning-rate" else w for w in QUICK]
    diverging[diverging.index("0.02")] = "1e20"
    done = alexnet("train", source, tmp_path / "run", "--recipe", "paper", *diverging)
    assert done.returncode == 3
    assert "the loss is" in done.stderr


def test_pack_info_prints_the_contents_and_draws_a_contact_sheet(trained, tmp_path):
    source, sheet = trained[0].parent / "patterns.pack", tmp_path / "sheet.png"
    done = alexnet("pack", "--info", source, "--sheet", sheet)
    assert done.returncode == 0, done.stderr
    assert "90" in done.stdout
    assert "rings" in done.stdout
    with Image.open(sheet) as image:
        assert image.width > 100


def test_networks_lists_alexnet_with_the_papers_number_of_parameters():
    assert "60,965,224" in alexnet("networks").stdout
    assert "55×55" in alexnet("networks", "--layers", "alexnet").stdout
    assert alexnet("networks", "--layers", "nothing").returncode == 1


def test_output_to_a_file_contains_no_escape_codes(trained):
    _, done = trained
    assert "\x1b" not in done.stderr + done.stdout
    assert os.linesep in done.stderr
