"""Time of an epoch of ILSVRC-2012 (1,281,167 images), and of the 90 epochs of the paper.

python benchmarks/epoch.py --batch 1024 --json benchmarks/results/epoch.json

Statement: on one large GPU, the paper's 90 epochs take at most 35 minutes. Nothing is compared; the
time of whole epochs is measured. Every step is complete: crops, flips and color noise from uint8
records, forward and backward pass, update. The records are random bytes. On a GPU all of them are
in its memory, or as many as fit; on a CPU there are a few hundred. A result from fewer than
1,281,167 records is labeled as extrapolated. Validation and checkpoints, a few seconds per epoch,
are not counted.
"""

from __future__ import annotations

import math
import statistics
import time

import torch

from alexnet import device as devices
from alexnet.images.records import record_shape
from alexnet.recipes.recipe import Recipe
from alexnet.training.memory import count_training_memory
from interleave import Contestant, keeper, memory, options, report, table, verdict
from made import CLASSES, Training, made_pack

IMAGENET, EPOCHS = 1_281_167, 90
ON_CPU = 512
"""The number of records on a CPU."""
CONTEXT = 1 << 30
"""Bytes of GPU memory that the CUDA libraries allocate at their first use."""
TARGET_MINUTES = 35.0


def count_fitting_images(device: str, pixels: str, batch: int) -> int:
    """Return the number of records that fit in GPU memory, at most that of ILSVRC-2012."""
    if not device.startswith("cuda"):
        return ON_CPU
    precision = devices.set_up_machine(device).precision
    taken = count_training_memory(Recipe(batch_size=batch), CLASSES, precision).whole + CONTEXT
    free, _ = torch.cuda.mem_get_info()
    (record,) = record_shape(256, "yuv420")
    room = (free - taken) // (record if pixels == "yuv420" else 2 * record)
    return max(1, min(IMAGENET, room))


def time_epoch(training: Training, epoch: int, start: int = 0) -> float:
    """Train for an epoch from step `start`; return the seconds until the device has finished."""
    begin = time.perf_counter()
    last = torch.stack(list(training.losses(epoch, start)))[-1].item()
    seconds = time.perf_counter() - begin
    if not math.isfinite(last):
        raise RuntimeError(f"the loss became {last}: the timed steps are not a training")
    return seconds


def measure_memory(training: Training, batch: int) -> dict[str, int]:
    """Return the estimated and the largest allocated GPU memory, in bytes, without the records."""
    counted = count_training_memory(Recipe(batch_size=batch), CLASSES, training.machine.precision)
    records = getattr(training.batches.loader, "records", None)
    resident = records.nbytes if isinstance(records, torch.Tensor) else 0
    return {"counted": counted.whole, "taken": torch.cuda.max_memory_reserved() - resident}


def format_duration(seconds: float) -> str:
    """Format a duration in seconds, minutes, hours or days, whichever is easy to read."""
    for unit, size in ("days", 86400), ("hours", 3600), ("minutes", 60):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def format_lines(found: Contestant, training: Training, images: int) -> list[str]:
    """Return the lines to print: the data, the table, the times of an epoch and of 90 epochs."""
    rate = statistics.median(found.rates)
    epoch = IMAGENET / rate
    source = "measured" if images == IMAGENET else f"extrapolated from {images:,} images"
    return [
        f"{images:,} synthetic records ({training.preprocessing.pixels}); "
        f"loader: {training.home}, loaded in {training.seconds_to_fill:.1f} s",
        table([found], found),
        f"an epoch of {IMAGENET:,} images: {format_duration(epoch)} ({source})",
        f"{EPOCHS} epochs: {format_duration(EPOCHS * epoch)} ({EPOCHS} times that)",
    ]


def main() -> None:
    parser = options(__doc__, batch=128, rounds=1, images=0)
    parser.add_argument("--resident", choices=("auto", "yes", "no"), default="auto")
    parser.add_argument("--pixels", choices=("yuv420", "rgb"), default="yuv420")
    args = parser.parse_args()
    images = args.images or count_fitting_images(args.device, args.pixels, args.batch)
    pack = made_pack(images, pixels=args.pixels)
    training = Training(args.device, args.batch, pack, args.resident)
    steps = len(training.batches)
    time_epoch(training, 0, max(0, steps - 3))  # warm-up, which includes the short last batch
    found = Contestant(f"{training.recipe.network}, batch {args.batch}", Training)
    facts = {"batch": args.batch, "images": images, "home": training.home}
    facts |= {"seconds_to_fill": training.seconds_to_fill}
    keep = keeper(args.json, args.device, [found], **facts)
    for number in range(args.rounds):
        found.rates.append(images / time_epoch(training, 1 + number))
        keep()
    peaks = memory(args.device)
    found.peak_resident, found.peak_device = peaks["resident"], peaks["device"]
    lines = format_lines(found, training, images)
    if args.device.startswith("cuda"):
        minutes = EPOCHS * IMAGENET / statistics.median(found.rates) / 60
        lines.append(verdict("35 minutes ÷ 90 epochs", TARGET_MINUTES / minutes, 1.0))
        facts |= measure_memory(training, args.batch)
        lines.append(
            "GPU memory without the records: estimated {counted:,}, allocated {taken:,}".format(
                **facts
            )
        )
    report(args.json, args.device, [found], lines, **facts)


if __name__ == "__main__":
    main()
