"""From a folder of photos to a classifier, with this program, Ultralytics, timm and fastai.

python benchmarks/photos.py PHOTOS --ultralytics VENV --timm VENV --fastai VENV --json FILE

PHOTOS has `train/<class>/*` and `val/<class>/*`. Each program trains from scratch, for as many
epochs as the others, in the way that its documentation shows first, with its default settings and
a small network: Ultralytics `yolo11n-cls`, timm and fastai `resnet18`, this program the network
that it chooses. timm has no command or function that trains in its package; its documentation
shows the loop that is written here.

VENV is the folder of a virtual environment in which the program is installed (`pip install
ultralytics`, `timm`, `fastai`; each with the same PyTorch). A program whose environment is not
given is left out. With --time, this program is also trained for a stated time instead of a number
of epochs, for example as long as the slowest of the others took.

Minutes are those of the whole command, from its start to the measured error: of the clock, and of
all cores together, which depend less on what else runs on the machine. One run each, in the order
of the table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

from alexnet.processor import read_processor_name

ULTRALYTICS = """
import sys
from ultralytics import YOLO

photos, epochs = sys.argv[1], int(sys.argv[2])
model = YOLO("yolo11n-cls.yaml")
model.train(data=photos, epochs=epochs, imgsz=224, device="cpu", project="runs", plots=False)
print("ERROR", 100 * (1 - model.val(data=photos, plots=False).top1))
"""

TIMM = """
import sys
import timm
import timm.data
import timm.optim
import torch
from torchvision.datasets import ImageFolder

photos, epochs = sys.argv[1], int(sys.argv[2])
sets = {split: ImageFolder(f"{photos}/{split}") for split in ("train", "val")}
network = timm.create_model("resnet18", pretrained=False, num_classes=len(sets["train"].classes))
for split, images in sets.items():
    images.transform = timm.data.create_transform(224, is_training=split == "train")
loaders = {
    split: torch.utils.data.DataLoader(images, 64, shuffle=split == "train", num_workers=2)
    for split, images in sets.items()
}
optimizer = timm.optim.create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs * len(loaders["train"]))
for epoch in range(epochs):
    network.train()
    for images, labels in loaders["train"]:
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
network.eval()
with torch.inference_mode():
    right = sum((network(x).argmax(1) == y).sum().item() for x, y in loaders["val"])
print("ERROR", 100 * (1 - right / len(sets["val"])))
"""

FASTAI = """
import sys
from fastai.vision.all import *

photos, epochs = sys.argv[1], int(sys.argv[2])
loaders = ImageDataLoaders.from_folder(
    photos, train="train", valid="val", item_tfms=Resize(256), batch_tfms=aug_transforms(size=224),
    num_workers=2, device="cpu",
)
learner = vision_learner(loaders, resnet18, pretrained=False, metrics=error_rate)
learner.fit_one_cycle(epochs)
print("ERROR", 100 * learner.validate()[1])
"""

PROGRAMS = {"ultralytics": ULTRALYTICS, "timm": TIMM, "fastai": FASTAI}


class Run(NamedTuple):
    """What a program took, and what it reached."""

    wall: float
    """Seconds of the clock."""
    cores: float
    """Seconds of all cores together."""
    error: float
    """Top-1 error in percent."""


def read_core_seconds() -> float:
    """Return the seconds that all finished children of this process have used the cores."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_command(command: list[str], folder: str) -> str:
    """Run a command in a folder; return what it printed.

    An environment of its own must not find modules where this one's PYTHONPATH points.
    """
    own = command[0] == sys.executable
    variables = {k: v for k, v in os.environ.items() if own or k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[:3]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def train_ours(photos: Path, length: list[str], folder: str) -> float:
    """Train and evaluate with the commands of the README; return the top-1 error in percent.

    length: the option that says how long to train, `--epochs N` or `--time T`.
    """
    alexnet = [sys.executable, "-m", "alexnet"]
    run_command([*alexnet, "train", str(photos), "run", *length], folder)
    printed = run_command([*alexnet, "evaluate", "run", "--views", "1"], folder)
    found = re.search(r"top-1 error +([\d.]+)%", printed)
    assert found, printed
    return float(found[1])


def train_other(name: str, environment: Path, photos: Path, epochs: int, folder: str) -> float:
    """Train and evaluate with another program; return the top-1 error in percent."""
    python = str(environment.absolute() / "bin" / "python")
    printed = run_command([python, "-c", PROGRAMS[name], str(photos), str(epochs)], folder)
    return float(re.findall(r"^ERROR (\S+)", printed, re.M)[-1])


def measure(train: Callable[[str], float]) -> Run:
    """Call a function with an empty folder, in which it trains; measure it."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cores = time.monotonic(), read_core_seconds()
        error = train(folder)
        return Run(time.monotonic() - wall, read_core_seconds() - cores, error)


def main() -> None:
    """Run each program once and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--time", help="train this program for such a time: 10m")
    parser.add_argument("--json", type=Path)
    for name in PROGRAMS:
        parser.add_argument(f"--{name}", type=Path, metavar="VENV")
    options = parser.parse_args()
    photos = options.photos.resolve()
    counts = {s: sum(1 for x in (photos / s).rglob("*.*")) for s in ("train", "val")}
    name, length = "alexnet", ["--epochs", str(options.epochs)]
    if options.time:
        name, length = f"alexnet --time {options.time}", ["--time", options.time]
    rows = {name: measure(partial(train_ours, photos, length))}
    for name in PROGRAMS:
        if environment := getattr(options, name):
            rows[name] = measure(partial(train_other, name, environment, photos, options.epochs))
    epochs = "" if options.time else f"{options.epochs} epochs, "
    printed = [f"{counts} images, {epochs}{read_processor_name()}, {os.cpu_count()} cores"]
    for name, run in rows.items():
        times = f"{run.wall / 60:5.1f} min of the clock  {run.cores / 60:5.1f} min of cores"
        printed.append(f"{name:19} {times}  top-1 error {run.error:5.1f} %")
    print("\n".join(printed))
    if options.json:
        result = {"date": str(date.today()), "cores": os.cpu_count(), "printed": printed}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
