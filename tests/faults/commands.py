"""Command lines with random options, run on small inputs up to the point where long work starts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

from tests.faults.examples import Files
from tests.faults.judge import Wrong
from tests.faults.mutate import NUMBERS, TEXTS

VALUES = (*map(str, NUMBERS), *TEXTS, "0.5", "-0.5", "1e-5", "nan", "inf", "1e400", "True", "no")
OPTIONS: dict[str, tuple[str, ...]] = {
    "pack": (
        *("--size", "--fit", "--pixels", "--val-fraction", "--seed", "--processes", "--info"),
        *("--max-pixels", "--timeout", "--sheet", "--verify", "--json", "--upright"),
    ),
    "train": (
        *("--recipe", "--resume", "--init", "--take", "--reset", "--device", "--precision"),
        *("--resident", "--save-minutes", "--log-seconds", "--network", "--variations", "--epochs"),
        *("--initialization", "--dropout", "--batch-size", "--learning-rate", "--momentum"),
        *("--weight-decay", "--decays", "--schedule", "--drops", "--drop-factor", "--patience"),
        *("--steps", "--rates", "--bias-rate", "--bias-steps", "--warmup-epochs", "--crop"),
        *("--chunk", "--mean-at", "--color-noise", "--noise-until", "--pixel-scale", "--seed"),
    ),
    "evaluate": (
        *("--split", "--views", "--dumps", "--weights", "--search", "--dump", "--submission"),
        *("--devkit", "--per-class", "--ignore-unknown", "--device", "--out", "--json"),
    ),
    "predict": ("--top", "--views", "--format", "--figure", "--device"),
    "export": ("--pack", "--samples", "--allow"),
    "networks": ("--layers", "--classes", "--json"),
    "claims": ("--seeds", "--recipe", "--json", "--epochs", "--pack", "--earlier", "--markdown"),
}
WORDS = {
    "pack": ["x.pack", "new.pack"],
    "train": ["x.pack", "new"],
    "evaluate": ["run", "x.pack"],
    "predict": ["run", "x.npz"],
    "export": ["run", "new.onnx"],
    "networks": [],
    "claims": ["table"],
}
GOOD = {
    "--recipe": ("cifar", "small", "paper", "original-145"),
    "--resume": ("run", "run/last.safetensors", "x.pack"),
    "--init": ("run", "x.pack"),
    "--take": ("conv1", "fc10"),
    "--reset": ("conv1",),
    "--network": ("cifar", "alexnet", "lowres"),
    "--variations": ("unit=tanh", "towers=1", "without=conv3"),
    "--schedule": ("cosine", "steps", "plateau", "constant"),
    "--steps": ("0.1@25", "0.1"),
    "--rates": ("conv1=0.1", "conv1=0@2"),
    "--layers": ("alexnet", "cifar"),
    "--split": ("val", "train", "test"),
    "--dumps": ("x.npz",),
    "--info": ("x.pack", "run"),
    "--format": ("csv", "json", "table"),
    "--out": ("scores.json", "no/where.json"),
    "--dump": ("new.npz", "no/where.npz"),
}


def make(chance: random.Random) -> Files:
    """The words of a command line, as JSON."""
    name = chance.choice(list(OPTIONS))
    words = [name, *WORDS[name]]
    if chance.random() < 0.15:
        words[chance.randrange(len(words))] = chance.choice(TEXTS)
    if chance.random() < 0.1:
        words.append(chance.choice((*TEXTS, "run", "x.pack")))
    for option in chance.sample(OPTIONS[name], min(len(OPTIONS[name]), chance.randint(0, 3))):
        good = option in GOOD and chance.random() < 0.7
        words += [option] * (chance.random() < 0.98)
        words += [chance.choice(GOOD[option] if good else VALUES)] * (chance.random() < 0.9)
    return {"arguments.json": json.dumps(words).encode()}


def read(folder: Path, name: str) -> None:
    """Run the command line in the folder; it has to end with a status that the help names."""
    from alexnet import cli

    words = [_argument(text) for text in json.loads((folder / name).read_bytes())]
    before, place = os.getcwd(), folder / "all" / "there is"
    shutil.rmtree(folder / "all", ignore_errors=True)
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("all", name))
    os.chdir(place)
    status: Any = 0
    said = io.StringIO()
    try:
        with _no_work(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main(words)
    except SystemExit as end:
        status = end.code
    finally:
        os.chdir(before)
        shutil.rmtree(folder / "all", ignore_errors=True)
    if status not in (0, 1, 2, 3, None):
        raise Wrong(f"exit status {status}")


def _argument(text: str) -> str:
    """The text as a process would be given it: bytes without zeros, whatever they are."""
    content = text.replace("\0", "").encode("utf-8", "surrogatepass")
    return content.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _no_work() -> Any:
    """Trainings and exports end where their work would begin."""
    from alexnet.training.job import TrainingOutcome
    from alexnet.training.loop import Training

    def no_epochs(training: Any) -> TrainingOutcome:
        return TrainingOutcome(training.run, training.position, None, True)

    with mock.patch.object(Training, "run_epochs", no_epochs):
        yield
