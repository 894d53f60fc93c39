"""Trainings that are killed: every checkpoint loads, and the final bits are the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import pictures
from tests.faults.lives import Life

from alexnet import checkpoint, cli
from alexnet.packing.pack import pack

COMMON = ["--device", "cpu", "--schedule", "constant", "--log-seconds", "0"]
NETWORKS = {
    "small": ["--recipe", "cifar", "--crop", "28", "--batch-size", "16", "--epochs", "4"],
    "full": ["--recipe", "small", "--batch-size", "2", "--epochs", "2", "--warmup-epochs", "0"],
}
IMAGES = {"small": {"train": 15, "val": 6, "side": 32}, "full": {"train": 2, "val": 1, "side": 256}}
"""So many of each of three classes."""
SAVE_MINUTES = {"small": ("0", "0", "10"), "full": ("10", "0", "10")}
"""Of one life after the other; 0 saves after every step."""
CHECKPOINTS = "last", "best"


class Training:
    """`alexnet train` on a few pictures."""

    file_bytes = {"small": 300_000, "full": 50_000_000}  # noqa: RUF012
    """Smaller than a checkpoint."""
    is_large: bool
    """Whether what is read to judge it should not stay in the memory of the forking process."""
    share = 1.0

    def __init__(self, network: str, folder: Path) -> None:
        self.name, self.network = f"train, {network} network", network
        self.is_large = network == "full"
        self.pack, self.full_disk = folder / "pictures.pack", self.file_bytes[network]
        pack(pictures(**IMAGES[network]), self.pack, processes=1)
        self.seen: dict[Path, tuple[int, int]] = {}
        self.digests: dict[tuple[int, int, int], str] = {}

    def arguments(self, run: Path, number: int) -> list[str]:
        """The command of the life of this number: the same as the first, with --resume.

        Where there is no checkpoint yet, it is given with and without --resume by turns.
        """
        minutes = SAVE_MINUTES[self.network][number % 3]
        resume = (run / "last.safetensors").exists() or (run.exists() and number % 2 == 1)
        command = ["train", str(self.pack), str(run), "--save-minutes", minutes]
        return [
            *command,
            *COMMON,
            *NETWORKS[self.network],
            *(["--resume", str(run)] if resume else []),
        ]

    def work(self, run: Path, number: int) -> Callable[[], object]:
        """The life of this number in a run's folder."""
        arguments = self.arguments(run, number)
        return lambda: cli.main(arguments)

    def command(self, run: Path, number: int) -> list[str]:
        """The same for a shell."""
        return [sys.executable, "-m", "alexnet", *self.arguments(run, number)]

    def finished(self, run: Path) -> bool:
        """Whether all epochs are done and saved."""
        last = run / "last.safetensors"
        return last.exists() and _place(_meta(last)) == (self.epochs, 0)

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""
        options = NETWORKS[self.network]
        return int(options[options.index("--epochs") + 1])

    def problems(self, run: Path) -> list[str]:
        """What is wrong at an instant after a kill. Runs in a process of its own."""
        found = []
        for name in CHECKPOINTS:
            path = run / f"{name}.safetensors"
            if not path.exists():
                continue
            try:
                checkpoint.load(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                found.append(f"{name} does not load: {type(error).__name__}: {error}")
        return found

    def lost(self, run: Path) -> list[str]:
        """Whether a checkpoint is gone, or is one from before."""
        found = []
        for name in CHECKPOINTS:
            path = run / f"{name}.safetensors"
            before = self.seen.get(path)
            now = _place(_meta(path)) if path.exists() else None
            if before is not None and (now is None or now < before):
                found.append(f"{name} stood at {before} before the kill and at {now} after it")
            if now is not None:
                self.seen[path] = now
        return found

    def result(self, run: Path) -> dict[str, Any]:
        """What has to be equal at the end: weights, momenta, histories, the log's epochs."""
        found: dict[str, Any] = {}
        for name in CHECKPOINTS:
            path = run / f"{name}.safetensors"
            if path.exists():
                found[name] = self._digest(path), _meta(path)["position"]["history"]
                found[f"the place of {name}"] = _place(_meta(path))
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        found["the epochs in log.jsonl"] = [x for x in lines if x["event"] == "epoch"]
        found["recipe.json"] = (run / "recipe.json").read_text()
        found["what is left over"] = sorted(path.name for path in run.glob(".*.partial"))
        return found

    def begun(self, life: Life) -> bool:
        """Whether steps were made, so that the weights are saved when it is asked to stop."""
        return re.search(r"^epoch \d", life.printed, re.MULTILINE) is not None

    def wrong_at_the_end(self, run: Path) -> list[str]:
        """What a finished run says of itself and is not so."""
        history = _meta(run / "last.safetensors")["position"]["history"]
        if not (run / "best.safetensors").exists():
            return ["there is no best.safetensors"]
        best = _meta(run / "best.safetensors")["position"]["history"]
        errors = [measured["val_top1"] for measured in history]
        if len(best) != errors.index(min(errors)) + 1:
            return [
                f"best.safetensors is of epoch {len(best)}, not of the best, "
                f"{errors.index(min(errors)) + 1}"
            ]
        return []

    def _digest(self, path: Path) -> str:
        stat = os.stat(path)
        key = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if key not in self.digests:
            self.digests[key] = _content(path)
        return self.digests[key]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)), 8 + size


def _meta(path: Path) -> dict[str, Any]:
    return json.loads(_header(path)[0]["__metadata__"]["alexnet"])


def _place(meta: dict[str, Any]) -> tuple[int, int]:
    return meta["position"]["epoch"], meta["position"]["step"]


def _content(path: Path) -> str:
    """A digest of the names, the shapes and the bytes of all tensors."""
    header, begin = _header(path)
    header.pop("__metadata__")
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    with open(path, "rb") as file:
        file.seek(begin)
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
