"""Speed of classification at several batch sizes, and the time from a JPEG file to labels.

python benchmarks/infer.py --json benchmarks/results/infer.json

Statements: at batch 64 the network is at least 2.5 times as fast as eager PyTorch; classifying one
JPEG file takes at most 1.3 times as long as the network alone. Compared: eager and compiled
PyTorch, onnxruntime and OpenVINO with the exported file in float32 and int8, and ours. All have the
paper's network with random weights. The int8 files are calibrated with noise, so that only their
speed is meaningful; `alexnet export RUN OUT.xml --int8` prints what int8 costs in accuracy.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import nn

from alexnet import device as devices
from alexnet import nets
from alexnet.batches.preprocessing import Preprocessing
from alexnet.exporting.libraries import import_library
from alexnet.exporting.onnx_graph import INPUT
from alexnet.exporting.translation import build_onnx_model
from alexnet.exporting.writing import quantize_onnx, quantize_openvino
from alexnet.predict import Classifier
from interleave import Contestant, Turn, contest, options, ratio, report, table, verdict
from train_step import CLASSES, EagerPaper

TARGET, PATH_TARGET = 2.5, 1.3
PHOTOGRAPH = 375, 500
"""Height and width of a typical image of ILSVRC."""


def draw_images(batch: int, device: str, **form: Any) -> torch.Tensor:
    """Draw random network inputs, float32 (N, 3, 224, 224), with the spread of pixels."""
    return (60 * torch.randn(batch, 3, 224, 224, device=device)).contiguous(**form)


def make_turn(network: nn.Module, images: torch.Tensor, times: int) -> Turn:
    """Return a turn of `times` forward passes of one batch."""
    network.eval()

    def turn() -> int:
        with torch.inference_mode():
            for _ in range(times):
                network(images)
        return times * len(images)

    return turn


def eager(device: str, batch: int, times: int, folder: str) -> Turn:
    return make_turn(EagerPaper().to(device), draw_images(batch, device), times)


def compiled(device: str, batch: int, times: int, folder: str) -> Turn:
    """torch.compile with frozen weights and channels_last, its fastest settings for inference."""
    torch._inductor.config.freezing = True
    network = EagerPaper().to(device, memory_format=torch.channels_last).eval()
    images = draw_images(batch, device, memory_format=torch.channels_last)
    return make_turn(torch.compile(network), images, times)  # type: ignore[arg-type]


def ours(device: str, batch: int, times: int, folder: str) -> Turn:
    devices.set_up_machine(device)
    network = new_network().to(device, memory_format=torch.channels_last)
    return make_turn(network, draw_images(batch, device, memory_format=torch.channels_last), times)


def new_network() -> nn.Module:
    """Return the paper's network with random weights."""
    network = nets.build("alexnet", CLASSES)
    network.initialize("variance")  # type: ignore[operator]
    return network.eval()


def onnxruntime(device: str, batch: int, times: int, folder: str, file: str) -> Turn:
    runtime = import_library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    path = Path(folder, file)
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = draw_images(batch, "cpu").numpy()

    def turn() -> int:
        for _ in range(times):
            session.run(None, {INPUT: images})
        return times * batch

    return turn


def openvino(
    device: str, batch: int, times: int, folder: str, file: str, exact: bool = True
) -> Turn:
    """OpenVINO; `exact` keeps float32, which by default becomes bfloat16 on some CPUs."""
    core = import_library("openvino").Core()
    hints = {"PERFORMANCE_HINT": "LATENCY"}
    model = core.read_model(Path(folder, file))
    model.reshape([batch, 3, 224, 224])
    network = core.compile_model(
        model, "CPU", hints | ({"INFERENCE_PRECISION_HINT": "f32"} if exact else {})
    )
    images = draw_images(batch, "cpu").numpy()

    def turn() -> int:
        for _ in range(times):
            network(images)
        return times * batch

    return turn


def run_in_child(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work` in a child process.

    A spawned process inherits the peak RSS of its parent, so work done in this one would count in
    the peak memory of every contestant.
    """
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{work.__name__} ended with {process.exitcode}")


def write_files(folder: Path, samples: int) -> None:
    """Export the network to every file that a contestant reads."""
    onnx = folder / "float32.onnx"
    import_library("onnx").save(build_onnx_model(new_network(), 224), onnx)
    noise = [draw_images(1, "cpu").numpy() for _ in range(samples)]
    quantize_onnx(onnx, folder / "int8.onnx", noise)
    model = import_library("openvino").Core().read_model(onnx)
    import_library("openvino").save_model(quantize_openvino(model, noise), folder / "int8.xml")


CONTESTANTS = {
    "eager": ("paper's network, eager, F.local_response_norm", eager, {}),
    "compiled": ("the same, compiled and frozen, channels_last", compiled, {}),
    "onnx": ("ours exported, onnxruntime", onnxruntime, {"file": "float32.onnx"}),
    "onnx8": ("ours exported int8, onnxruntime", onnxruntime, {"file": "int8.onnx"}),
    "openvino": ("ours exported, OpenVINO, float32", openvino, {"file": "float32.onnx"}),
    "openvino16": (
        "ours exported, OpenVINO, as it comes",
        openvino,
        {"file": "float32.onnx", "exact": False},
    ),
    "openvino8": ("ours exported int8, OpenVINO", openvino, {"file": "int8.xml"}),
    "ours": ("ours", ours, {}),
}
FILES_ON_CPU = "onnx", "onnx8", "openvino", "openvino16", "openvino8"


def compare(batch: int, chosen: list[str], args: Any, folder: str) -> dict[str, Contestant]:
    """Compare all contestants at one batch size; a turn has at least `args.images` images."""
    times = max(1, args.images // batch)
    found = {}
    for key in chosen:
        name, prepare, more = CONTESTANTS[key]
        turns = {"batch": batch, "times": times, "folder": folder, **more}
        found[key] = Contestant(name, prepare, turns)
    contest(list(found.values()), args.rounds, args.device)
    return found


def time_one_image(device: str, folder: str, rounds: int) -> dict[str, float]:
    """Return median times in ms: JPEG file to five labels, the network alone, and their ratio."""
    machine = devices.set_up_machine(device)
    classifier = Classifier(
        new_network(), tuple(map(str, range(CLASSES))), make_preprocessing(), machine
    )
    path = Path(folder, "photograph.jpg")
    path.write_bytes(simplejpeg.encode_jpeg(make_photograph(), 90))
    image = draw_images(1, device, memory_format=torch.channels_last)

    def network() -> None:
        with torch.inference_mode():
            classifier.network(image).cpu()

    both = [
        (time_call(lambda: classifier.predict(path)), time_call(network)) for _ in range(rounds)
    ]
    path_ms, network_ms = (1e3 * statistics.median(x) for x in zip(*both[2:], strict=True))
    quotient = statistics.median(a / b for a, b in both[2:])
    return {"path_ms": path_ms, "network_ms": network_ms, "ratio": quotient}


def time_call(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_preprocessing() -> Preprocessing:
    """Return some preprocessing for a network that was never trained."""
    mean = torch.full((256, 256, 3), 120.0)
    return Preprocessing(256, 224, "crop", "rgb", 1.0, mean, torch.eye(3), torch.ones(3))


def make_photograph() -> np.ndarray:
    """Return an image that is as slow to decode as a photograph: about 50 KB as a JPEG."""
    height, width = PHOTOGRAPH
    y, x = np.mgrid[:height, :width][..., None]
    waves = 127 + 60 * np.sin(x / 37 + np.arange(3)) + 50 * np.sin(y * x / 9000)
    noise = np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return np.ascontiguousarray((waves + noise).clip(0, 255).astype(np.uint8))


def format_batch(batch: int, found: dict[str, Contestant]) -> list[str]:
    """Return the table of one batch size, with ratios to the eager network."""
    return [
        f"batch {batch}",
        table(list(found.values()), found.get("eager", next(iter(found.values())))),
        "",
    ]


def format_best(contests: dict[int, dict[str, Contestant]]) -> list[str]:
    """Return lines with the best batch size of every contestant."""
    lines = ["best batch"]
    for key, (name, *_) in CONTESTANTS.items():
        rates = {
            b: statistics.median(f[key].rates) for b, f in contests.items() if has_rates(f, key)
        }
        if rates:
            batch = max(rates, key=rates.__getitem__)
            lines.append(f"{name:<46}{rates[batch]:>12,.1f} images/s at {batch}")
    return [*lines, ""]


def has_rates(found: dict[str, Contestant], key: str) -> bool:
    """Return whether a contestant took part and was measured."""
    return key in found and bool(found[key].rates)


def main() -> None:
    parser = options(__doc__, rounds=5, images=16, samples=16)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16, 64, 128])
    parser.add_argument("--only", nargs="*", help=f"run only these of {', '.join(CONTESTANTS)}")
    args = parser.parse_args()
    everyone = [k for k in CONTESTANTS if args.device == "cpu" or k not in FILES_ON_CPU]
    chosen = args.only or everyone
    lines, contests = [], {}
    with tempfile.TemporaryDirectory() as folder:
        if set(chosen) & set(FILES_ON_CPU):
            run_in_child(write_files, Path(folder), args.samples)
        for batch in args.batches:
            contests[batch] = compare(batch, chosen, args, folder)
            lines += format_batch(batch, contests[batch])
            print("\n".join(format_batch(batch, contests[batch])), file=sys.stderr, flush=True)
        alone = time_one_image(args.device, folder, 2 + 4 * args.rounds)
    lines += format_best(contests)
    if has_rates(found := contests.get(64, {}), "ours") and has_rates(found, "eager"):
        faster = ratio(found["ours"], found["eager"])[0]
        lines.append(verdict("ours ÷ eager at batch 64", faster, TARGET))
    lines.append(
        "{path_ms:.1f} ms from JPEG file to five labels, {network_ms:.1f} ms for the network alone "
        "(median of the paired ratios: {ratio:.2f})".format(**alone)
    )
    lines.append(verdict("network ÷ path to labels", 1 / alone["ratio"], 1 / PATH_TARGET))
    rows = [c for found in contests.values() for c in found.values()]
    report(args.json, args.device, rows, lines, batches=args.batches, one_image=alone)


if __name__ == "__main__":
    main()
