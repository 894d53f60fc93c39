"""Every benchmark runs at tiny sizes, prints a table and writes JSON. No test checks a speed."""

import dataclasses
import importlib.util
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from alexnet import nets
from alexnet.packing.pack import pack
from alexnet.training.train import train
from tests.conftest import QUICK, pictures

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {
    "train_step": "--batch 2 --rounds 1 --only ours",
    "kernels": "--batch 1 --rounds 1",
    "small": "--batch 2 --steps 1 --rounds 1",
    "epoch": "--batch 2 --images 3",
    "forward": "--batches 1 --images 1 --rounds 1",
    "search": "--images 300 --dimensions 32 --queries 8 --rounds 1",
}


def run(script: str, options: str, out: Path) -> tuple[str, dict]:
    """Run a script; return what it printed and the JSON that it wrote."""
    words = [*options.split(), "--device", "cpu", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("script", TINY)
def test_a_benchmark_prints_a_table_and_writes_json(script, tmp_path):
    printed, found = run(script, TINY[script], tmp_path / "out.json")
    assert "ours" in printed or "images/s" in printed
    assert {"date", "machine", "torch"} <= found.keys()
    assert found["rows"]
    assert not any(row.get("error") for row in found["rows"])


@pytest.mark.slow
def test_the_training_step_with_loading_is_compared_with_a_dataloader(tmp_path):
    options = "--data --batch 2 --batches 2 --rounds 1"
    printed, found = run("train_step", options, tmp_path / "out.json")
    assert "best batch: 2" in printed
    assert [bool(row["images_per_second"]) for row in found["rows"]] == [True, True]


@pytest.mark.slow
def test_packing_and_loading_are_measured_for_every_library_that_is_installed(tmp_path):
    options = "--images 8 --batch 4 --rounds 1 --processes 1"
    printed, found = run("data", options, tmp_path / "out.json")
    assert "alexnet pack ÷ Pillow" in printed
    assert "cold:" in printed
    assert min(found["psnr"]) > 35
    for row in found["rows"]:
        missing = [name for name in ("webdataset", "ffcv") if name in row["name"]]
        if not missing or importlib.util.find_spec(missing[0]):
            assert row["images_per_second"], row


def test_the_errors_on_rgb_and_yuv420_packs_are_compared(tiny_pack, tmp_path):
    yuv = pack(pictures(train=3), tmp_path / "yuv.pack", processes=1, pixels="yuv420")
    recipe = dataclasses.replace(QUICK, epochs=1)
    trained = train(tiny_pack, tmp_path / "run", recipe, device="cpu").run
    options = f"--parts --errors {trained} {tiny_pack.path} {yuv.path}"
    printed, found = run("data", options, tmp_path / "out.json")
    assert "points of top-1 error" in printed
    assert [scores["seen"] for scores in found["errors"].values()] == [60, 60]


@pytest.fixture
def gpu(monkeypatch):
    """benchmarks/gpu.py as a module."""
    spec = importlib.util.spec_from_file_location("gpu_benchmarks", BENCHMARKS / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look the module up
    spec.loader.exec_module(module)
    return module


def call(number: int, options: str, out: Path, timeout: float) -> subprocess.CompletedProcess:
    """Start benchmarks/gpu.py in a dry run and return the finished process."""
    words = ["--call", str(number), "--dry", *options.split(), "--out", str(out)]
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def read_archive(out: Path, number: int) -> dict[str, bytes]:
    """Return the contents of the files in an archive of results, by name."""
    with tarfile.open(out / f"results-{number}.tar.gz") as archive:
        return {Path(member.name).name: archive.extractfile(member).read() for member in archive}


def test_the_parts_of_a_call_fit_into_ten_minutes(gpu):
    assert gpu.CALLS.keys() == {1, 2}
    for parts in gpu.CALLS.values():
        assert sum(part.seconds for part in parts) <= 60 * gpu.MINUTES < 570
    assert gpu.CALLS[1][0].name == "checks"
    names = [part.name for parts in gpu.CALLS.values() for part in parts]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("number", [1, 2])
def test_a_call_runs_every_part_and_leaves_a_summary_and_an_archive(
    number, gpu, tmp_path, monkeypatch
):
    asked = []

    def pretend(command, seconds, log):
        asked.append(command)
        log.write_text("a table\n")
        path = Path(command[command.index("--json") + 1])
        rows = [
            {"name": f"ours from records, batch {n}", "images_per_second": [n % 1000]}
            for n in gpu.BATCHES
        ]
        path.write_text(json.dumps({"rows": rows}))
        return "done"

    monkeypatch.setattr(gpu, "run_limited", pretend)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--call", str(number), "--out", str(tmp_path)])
    gpu.main()
    names = [part.name for part in gpu.CALLS[number]]
    files = {f"summary-{number}.json", f"results-{number}.tar.gz"}
    assert {path.name for path in tmp_path.iterdir()} == files
    summary = json.loads((tmp_path / f"summary-{number}.json").read_text())
    assert list(summary) == names
    assert all(part["printed"] == ["a table"] for part in summary.values())
    ends = (".json", ".txt")
    assert read_archive(tmp_path, number).keys() == {name + end for name in names for end in ends}
    assert all((BENCHMARKS / Path(command[1]).name).exists() for command in asked)
    assert all("{" not in " ".join(command) for command in asked)
    if number == 1:  # the best batch of `data`
        assert "--batch 512" in " ".join(asked[names.index("epoch")])


ABSENT = "simplejpeg", "tyro", "rich", "tensorboard", "onnx", "onnxruntime", "openvino"
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split():
            raise ModuleNotFoundError(f"no module {name}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
import alexnet.training.train, usual
import checks, epoch, forward, kernels, layers, small, train_step
"""


def test_the_gpu_benchmarks_import_only_the_libraries_of_the_gpu_machine(gpu):
    """The machine with the GPU has torch, Triton, Numba, NumPy, Pillow, safetensors; no registry.

    Contestants import the training when they start, so that is imported here too.
    """
    scripts = {Path(part.script).stem for parts in gpu.CALLS.values() for part in parts}
    assert all(f" {script}" in WITHOUT for script in scripts)
    command = [sys.executable, "-c", WITHOUT, str(BENCHMARKS), " ".join(ABSENT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_killed_leaves_the_rows_of_its_finished_rounds(gpu, tmp_path):
    script = tmp_path / "two_rounds.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(BENCHMARKS)!r}]\n"
        "import os, signal; from pathlib import Path; import interleave\n"
        "one = interleave.Contestant('one', print, rates=[1.0])\n"
        f"keep = interleave.keeper(Path({str(tmp_path / 'rows.json')!r}), 'cpu', [one], batch=2)\n"
        "keep(); one.rates.append(2.0); keep(); print('two rounds', flush=True)\n"
        "one.rates.append(3.0); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    log = tmp_path / "log.txt"
    assert gpu.run_limited([sys.executable, str(script)], 100, log) == f"failed ({-signal.SIGKILL})"
    assert "two rounds" in log.read_text()
    found = json.loads((tmp_path / "rows.json").read_text())
    assert found["rows"][0]["images_per_second"] == [1.0, 2.0]
    assert (found["finished"], found["batch"]) == (False, 2)


def test_a_turn_is_repeated_until_it_takes_the_minimum_time(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    interleave = importlib.import_module("interleave")
    counts = [interleave.times_for(3.0, once) for once in (5.0, 3.0, 1.4, 0.001)]
    assert counts == [1, 1, 3, 3000]
    images, seconds = interleave.timed(lambda: 7, "cpu", 3)
    assert images == 21
    assert seconds >= 0


def test_a_synthetic_pack_can_be_trained_on_by_the_package_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    checks, checkpoint = map(importlib.import_module, ("checks", "alexnet.checkpoint"))
    recipe = dataclasses.replace(
        checks.SMALL, initialization="variance", schedule="constant", batch_size=2, epochs=1
    )
    checks.train_on_made_pack("cpu", recipe, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").position.epoch == 1


def test_all_ways_to_compute_a_convolution_give_the_same_result(tmp_path):
    _, found = run("layers", "--batch 1 --rounds 1", tmp_path / "out.json")
    ways = [(row["layer"], row["way"]) for row in found["rows"]]
    grouped = [(f"conv{n}", way) for n in (2, 4, 5) for way in ("grouped", "split", "dense")]
    assert sorted(ways) == sorted(
        [("conv1", "dense"), ("conv1", "space to depth"), ("conv3", "dense"), *grouped]
    )
    assert all(row["difference"] < 1e-4 for row in found["rows"])
    once = sum(row["multiply_adds"] for row in found["rows"] if row["way"] == "dense")
    counted = [layer for layer in nets.list_layers("alexnet") if layer.name.startswith("conv")]
    assert once == sum(layer.multiply_adds for layer in counted)
    assert all(len(row["forward"]) == len(row["both"]) == 1 for row in found["rows"])
    assert found["finished"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_both_gpu_calls_finish_in_a_dry_run_on_the_cpu(number, gpu, tmp_path):
    done = call(number, "", tmp_path, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / f"summary-{number}.json").read_text())
    assert [part["ended"] for part in summary.values()] == ["done"] * len(gpu.CALLS[number])
    found = {
        name: json.loads(content)
        for name, content in read_archive(tmp_path, number).items()
        if name.endswith(".json")
    }
    assert len(found) == len(summary)
    for results in found.values():
        assert results["finished"]
        assert results["rows"]
        assert not any(row.get("error") for row in results["rows"])
    if number == 1:
        assert not found["checks.json"]["failed"]
        assert found["streamed.json"]["seconds_to_fill"] >= 0


def test_a_part_is_stopped_at_the_time_limit_and_the_next_is_not_started(tmp_path):
    done = call(2, "--minutes 0.005 --only layers small", tmp_path, timeout=60)
    assert done.returncode == 1
    ended = json.loads((tmp_path / "summary-2.json").read_text())
    assert ended["layers"]["ended"].startswith("stopped after")
    assert ended["small"]["ended"] == "not started: no time left"


def test_the_sizes_of_the_extras_are_counted_beyond_the_base(tmp_path):
    script, out = BENCHMARKS / "sizes.py", tmp_path / "sizes.json"
    done = subprocess.run(
        [sys.executable, str(script), "--json", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = {row["extra"]: row for row in json.loads(out.read_text())["rows"]}
    base, export = rows[""], rows["export"]
    assert base["distributions"]["torch"] > 10_000_000
    assert {"dev"}.isdisjoint(rows)
    assert base["distributions"].keys().isdisjoint(export["distributions"])
    assert export["missing"] or export["bytes"] == sum(export["distributions"].values()) > 0
    assert "+ [export]" in done.stdout
