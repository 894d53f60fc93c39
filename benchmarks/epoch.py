"""An epoch of the size of ILSVRC-2012's, 1,281,167 records, and the 90 epochs of the paper.

python benchmarks/epoch.py --batch 1024 --json benchmarks/results/epoch.json

Every step is whole: crops, flips and colors from uint8, forward, backward, update. The records are
noise. On a GPU they are all in its memory if they fit; if not, as many as fit, and on a CPU a few
hundred; what follows from fewer than 1,281,167 is labeled as extrapolated. Validation and
checkpoints, some seconds an epoch, are not counted.
"""

from __future__ import annotations

import math
import statistics
import time

import torch

from alexnet import device as devices
from alexnet.images.records import record_shape
from alexnet.recipes.recipe import Recipe
from alexnet.training.memory import training_memory
from interleave import Contestant, keeper, memory, options, report, table, verdict
from made import CLASSES, Training, made_pack

IMAGENET, EPOCHS = 1_281_167, 90
ON_CPU = 512
CONTEXT = 1 << 30
"""Bytes of a GPU that CUDA's libraries take when they are first used."""
TARGET_MINUTES = 35.0


def as_many_as_fit(device: str, pixels: str, batch: int) -> int:
    """All of ILSVRC-2012 where there is room, else what there is room for."""
    if not device.startswith("cuda"):
        return ON_CPU
    precision = devices.machine(device).precision
    taken = training_memory(Recipe(batch_size=batch), CLASSES, precision).whole + CONTEXT
    free, _ = torch.cuda.mem_get_info()
    (record,) = record_shape(256, "yuv420")
    room = (free - taken) // (record if pixels == "yuv420" else 2 * record)
    return max(1, min(IMAGENET, room))


def seconds_of(training: Training, epoch: int, start: int = 0) -> float:
    """Train for an epoch from step `start` on, and wait until all of it is done."""
    began = time.perf_counter()
    last = torch.stack(list(training.losses(epoch, start)))[-1].item()
    seconds = time.perf_counter() - began
    if not math.isfinite(last):
        raise RuntimeError(f"the loss became {last}: what was timed is no training")
    return seconds


def memory_beside_records(training: Training, batch: int) -> dict[str, int]:
    """Bytes of the GPU that training was counted to take, and what it took at most."""
    counted = training_memory(Recipe(batch_size=batch), CLASSES, training.machine.precision)
    records = getattr(training.batches.loader, "records", None)
    resident = records.nbytes if isinstance(records, torch.Tensor) else 0
    return {"counted": counted.whole, "taken": torch.cuda.max_memory_reserved() - resident}


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days: whatever is easily read."""
    for unit, size in ("days", 86400), ("hours", 3600), ("minutes", 60):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def told(found: Contestant, training: Training, images: int) -> list[str]:
    """What was trained on, the table, and what follows for an epoch and for ninety."""
    rate = statistics.median(found.rates)
    epoch = IMAGENET / rate
    how = "measured" if images == IMAGENET else f"extrapolated from {images:,} images"
    return [
        f"{images:,} records of noise, {training.preprocessing.pixels}; home: {training.home}, filled in "
        f"{training.seconds_to_fill:.1f} s",
        table([found], found),
        f"an epoch of {IMAGENET:,} images: {duration(epoch)} ({how})",
        f"{EPOCHS} epochs: {duration(EPOCHS * epoch)} ({EPOCHS} times that)",
    ]


def main() -> None:
    parser = options(__doc__, batch=128, rounds=1, images=0)
    parser.add_argument("--resident", choices=("auto", "yes", "no"), default="auto")
    parser.add_argument("--pixels", choices=("yuv420", "rgb"), default="yuv420")
    args = parser.parse_args()
    images = args.images or as_many_as_fit(args.device, args.pixels, args.batch)
    pack = made_pack(images, pixels=args.pixels)
    training = Training(args.device, args.batch, pack, args.resident)
    steps = len(training.batches)
    seconds_of(training, 0, max(0, steps - 3))  # warms up, the short last batch too
    found = Contestant(f"{training.recipe.network}, batch {args.batch}", Training)
    facts = {"batch": args.batch, "images": images, "home": training.home}
    facts |= {"seconds_to_fill": training.seconds_to_fill}
    keep = keeper(args.json, args.device, [found], **facts)
    for number in range(args.rounds):
        found.rates.append(images / seconds_of(training, 1 + number))
        keep()
    peaks = memory(args.device)
    found.peak_resident, found.peak_device = peaks["resident"], peaks["device"]
    lines = told(found, training, images)
    if args.device.startswith("cuda"):
        minutes = EPOCHS * IMAGENET / statistics.median(found.rates) / 60
        lines.append(verdict("35 minutes ÷ 90 epochs", TARGET_MINUTES / minutes, 1.0))
        facts |= memory_beside_records(training, args.batch)
        lines.append(
            "memory beside the records: counted {counted:,}, taken {taken:,}".format(**facts)
        )
    report(args.json, args.device, [found], lines, **facts)


if __name__ == "__main__":
    main()
