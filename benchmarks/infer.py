"""Classifying images: ours beside others', at several batch sizes; one image from path to labels.

python benchmarks/infer.py --json benchmarks/results/infer.json

The paper's network with random weights everywhere; the int8 ones are quantized here, by noise, so
only their speed means something. `alexnet export RUN OUT.xml --int8` tells what int8 costs.
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
"""Height and width of the middling image of ILSVRC."""


def images_for(batch: int, device: str, **form: Any) -> torch.Tensor:
    return (60 * torch.randn(batch, 3, 224, 224, device=device)).contiguous(**form)


def in_torch(network: nn.Module, images: torch.Tensor, times: int) -> Turn:
    network.eval()

    def turn() -> int:
        with torch.inference_mode():
            for _ in range(times):
                network(images)
        return times * len(images)

    return turn


def eager(device: str, batch: int, times: int, folder: str) -> Turn:
    return in_torch(EagerPaper().to(device), images_for(batch, device), times)


def compiled(device: str, batch: int, times: int, folder: str) -> Turn:
    """Weights as constants, channels_last: what torch.compile can make of it for inference."""
    torch._inductor.config.freezing = True
    network = EagerPaper().to(device, memory_format=torch.channels_last).eval()
    images = images_for(batch, device, memory_format=torch.channels_last)
    return in_torch(torch.compile(network), images, times)  # type: ignore[arg-type]


def ours(device: str, batch: int, times: int, folder: str) -> Turn:
    devices.machine(device)
    network = new_network().to(device, memory_format=torch.channels_last)
    return in_torch(network, images_for(batch, device, memory_format=torch.channels_last), times)


def new_network() -> nn.Module:
    network = nets.build("alexnet", CLASSES)
    network.initialize("variance")  # type: ignore[operator]
    return network.eval()


def onnxruntime(device: str, batch: int, times: int, folder: str, file: str) -> Turn:
    runtime = import_library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    path = Path(folder, file)
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = images_for(batch, "cpu").numpy()

    def turn() -> int:
        for _ in range(times):
            session.run(None, {INPUT: images})
        return times * batch

    return turn


def openvino(
    device: str, batch: int, times: int, folder: str, file: str, exact: bool = True
) -> Turn:
    """`exact`: float32 stays float32, where OpenVINO by itself rounds to bfloat16 on some CPUs."""
    core = import_library("openvino").Core()
    how = {"PERFORMANCE_HINT": "LATENCY"}
    model = core.read_model(Path(folder, file))
    model.reshape([batch, 3, 224, 224])
    network = core.compile_model(
        model, "CPU", how | ({"INFERENCE_PRECISION_HINT": "f32"} if exact else {})
    )
    images = images_for(batch, "cpu").numpy()

    def turn() -> int:
        for _ in range(times):
            network(images)
        return times * batch

    return turn


def elsewhere(work: Callable[..., None], *arguments: Any) -> None:
    """Work in a process of its own: a process starts with the peak memory of the one it is of."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{work.__name__} ended with {process.exitcode}")


def write_files(folder: Path, samples: int) -> None:
    """The network as every file that the contestants read."""
    onnx = folder / "float32.onnx"
    import_library("onnx").save(build_onnx_model(new_network(), 224), onnx)
    noise = [images_for(1, "cpu").numpy() for _ in range(samples)]
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


def at(batch: int, chosen: list[str], args: Any, folder: str) -> dict[str, Contestant]:
    """One contest, at one batch size: a turn is a batch, or as many as make `args.images`."""
    times = max(1, args.images // batch)
    found = {}
    for key in chosen:
        name, prepare, more = CONTESTANTS[key]
        turns = {"batch": batch, "times": times, "folder": folder, **more}
        found[key] = Contestant(name, prepare, turns)
    contest(list(found.values()), args.rounds, args.device)
    return found


def from_path_to_labels(device: str, folder: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds: a JPEG file to five labels, the network alone, and their ratio."""
    machine = devices.machine(device)
    classifier = Classifier(new_network(), tuple(map(str, range(CLASSES))), plain(), machine)
    path = Path(folder, "photograph.jpg")
    path.write_bytes(simplejpeg.encode_jpeg(photograph(), 90))
    image = images_for(1, device, memory_format=torch.channels_last)

    def network() -> None:
        with torch.inference_mode():
            classifier.network(image).cpu()

    both = [(seconds(lambda: classifier.predict(path)), seconds(network)) for _ in range(rounds)]
    path_ms, network_ms = (1e3 * statistics.median(x) for x in zip(*both[2:], strict=True))
    quotient = statistics.median(a / b for a, b in both[2:])
    return {"path_ms": path_ms, "network_ms": network_ms, "ratio": quotient}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plain() -> Preprocessing:
    """The preprocessing of a network that was never trained."""
    mean = torch.full((256, 256, 3), 120.0)
    return Preprocessing(256, 224, "crop", "rgb", 1.0, mean, torch.eye(3), torch.ones(3))


def photograph() -> np.ndarray:
    """Something as hard to decode as a photograph: about 50 KB."""
    height, width = PHOTOGRAPH
    y, x = np.mgrid[:height, :width][..., None]
    waves = 127 + 60 * np.sin(x / 37 + np.arange(3)) + 50 * np.sin(y * x / 9000)
    noise = np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return np.ascontiguousarray((waves + noise).clip(0, 255).astype(np.uint8))


def text(batch: int, found: dict[str, Contestant]) -> list[str]:
    """The table of one batch size, against the eager network."""
    return [
        f"batch {batch}",
        table(list(found.values()), found.get("eager", next(iter(found.values())))),
        "",
    ]


def best_lines(contests: dict[int, dict[str, Contestant]]) -> list[str]:
    """Everyone's best batch size."""
    lines = ["best batch"]
    for key, (name, *_) in CONTESTANTS.items():
        rates = {b: statistics.median(f[key].rates) for b, f in contests.items() if has(f, key)}
        if rates:
            batch = max(rates, key=rates.__getitem__)
            lines.append(f"{name:<46}{rates[batch]:>12,.1f} images/s at {batch}")
    return [*lines, ""]


def has(found: dict[str, Contestant], key: str) -> bool:
    return key in found and bool(found[key].rates)


def main() -> None:
    parser = options(__doc__, rounds=5, images=16, samples=16)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16, 64, 128])
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(CONTESTANTS)}")
    args = parser.parse_args()
    everyone = [k for k in CONTESTANTS if args.device == "cpu" or k not in FILES_ON_CPU]
    chosen = args.only or everyone
    lines, contests = [], {}
    with tempfile.TemporaryDirectory() as folder:
        if set(chosen) & set(FILES_ON_CPU):
            elsewhere(write_files, Path(folder), args.samples)
        for batch in args.batches:
            contests[batch] = at(batch, chosen, args, folder)
            lines += text(batch, contests[batch])
            print("\n".join(text(batch, contests[batch])), file=sys.stderr, flush=True)
        alone = from_path_to_labels(args.device, folder, 2 + 4 * args.rounds)
    lines += best_lines(contests)
    if has(found := contests.get(64, {}), "ours") and has(found, "eager"):
        faster = ratio(found["ours"], found["eager"])[0]
        lines.append(verdict("ours ÷ eager at batch 64", faster, TARGET))
    lines.append(
        "{path_ms:.1f} ms from a JPEG's path to five labels, {network_ms:.1f} ms in the network; "
        "of each pair {ratio:.2f} times".format(**alone)
    )
    lines.append(verdict("network ÷ path to labels", 1 / alone["ratio"], 1 / PATH_TARGET))
    rows = [c for found in contests.values() for c in found.values()]
    report(args.json, args.device, rows, lines, batches=args.batches, one_image=alone)


if __name__ == "__main__":
    main()
