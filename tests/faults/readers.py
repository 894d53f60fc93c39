"""Every function that reads files from outside the program, with valid examples.

A reader is called as in the commands, and its result is checked: labels are within their range,
names are strings, no image occurs twice.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.conftest import CLASSES, picture, pictures
from tests.faults import commands, examples, folders
from tests.faults.examples import Files
from tests.faults.judge import Wrong, judge

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoding import decode
from alexnet.images.memory import BYTES_PER_PIXEL
from alexnet.images.preparation import RecordOptions, prepare
from alexnet.sources import Entry, Skipped, Source, open_source
from alexnet.sources.limits import PACKING_MEMORY

MOST_PIXELS = 1 << 22
"""The limit that images are decoded with. The memory that is promised follows from it."""
OPTIONS = RecordOptions(16, max_pixels=MOST_PIXELS)
RECORD = np.zeros(OPTIONS.record_bytes, np.uint8)
OWN_NEEDS = 64 << 20
"""Bytes beyond that for the tables of the decoders."""
MOST_ITEMS = 20_000


@dataclass(frozen=True)
class Reader:
    """One reader."""

    name: str
    examples: Callable[[], list[Files]]
    """Good folders of files. Made in a process of its own."""
    read: Callable[[Path, str], object]
    """Read the folder, in which the file of this name was changed."""
    share: float = 1.0
    """Of the inputs."""
    targets: tuple[str, ...] = ("",)
    """Endings of the files that are changed."""
    guarded: bool = False
    """Whether the product does this in a process that may crash and hang."""
    memory: int = 1 << 30
    """Bytes that no input may take."""
    make: Callable[[random.Random], Files] | None = None
    """Makes inputs of its own instead of changing examples."""


def each(*steps: Callable[[], object]) -> None:
    """Take every step, although an earlier one refused; then raise the first refusal."""
    refusal = None
    for step in steps:
        try:
            step()
        except Exception as error:  # judged at once: a fault must not be hidden by a refusal
            if judge(error) is not None:
                raise
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def read_image(folder: Path, name: str) -> None:
    """An encoded image: as packing does, or as predicting does."""
    content = (folder / name).read_bytes()
    if zlib.crc32(content) & 1:
        prepare(Entry("train", name, 0, content), OPTIONS, RECORD)
        return
    try:
        pixels = decode(content, upright=True, reduce_to=16, max_pixels=MOST_PIXELS).pixels
    except UnusableImage:
        return
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise Wrong(f"pixels {pixels.dtype} {pixels.shape}")


@functools.cache
def workers() -> Any:
    """One decoding process, as packing has them, for all inputs of this process."""
    from alexnet.images.decoder_group import DecoderGroup

    return DecoderGroup(OPTIONS, n_processes=1, timeout=10.0)


def read_through_workers(folder: Path, name: str) -> None:
    """An encoded image, decoded in another process: whatever happens there, there is an outcome."""
    entries = [Entry("train", name, 0, content) for content in ((folder / name).read_bytes(),)]
    ((item, outcome, _),) = workers().prepare(entries)
    if item.name != name or outcome is None or not (outcome.reason or outcome.digest):
        raise Wrong("an image that is neither used nor given up")


def drain(source: Source) -> None:
    """Everything in a source, looked at; the first images also prepared."""
    for split in source.splits:
        names: set[str] = set()
        for count, item in enumerate(source.entries(split)):
            if count > MOST_ITEMS:
                raise Wrong(f"more than {MOST_ITEMS} items")
            if isinstance(item, Skipped):
                json.dumps([item.name, item.reason, item.detail])
                continue
            if not isinstance(item, Entry):
                raise Wrong(f"{type(item).__name__} in a source")
            if item.name in names:
                raise Wrong("the same name twice")
            names.add(item.name)
            if not -1 <= item.label < len(source.classes):
                raise Wrong(f"a label of {item.label} of {len(source.classes)} classes")
            if count < 8:
                prepare(item, OPTIONS, RECORD)


def read_source(folder: Path, name: str) -> None:
    """A folder, or the one file in it, as images."""
    drain(open_source(folder))


def read_file(folder: Path, name: str) -> None:
    """A file as images."""
    drain(open_source(folder / name))


def read_pack(folder: Path, name: str) -> None:
    """A pack, as commands use it."""
    from alexnet.batches.preprocessing import Preprocessing
    from alexnet.packs.pack import open_pack
    from alexnet.packs.summary import describe_pack
    from alexnet.packs.verification import verify
    from alexnet.recipes.named import RECIPES, recommend

    pack = open_pack(folder / "x.pack")

    def look(split: str) -> None:
        there = pack.splits[split]
        labels, names = there.labels, there.names
        if len(labels) != len(there) or len(names) != len(there):
            raise Wrong("another number of labels or names than of images")
        if len(labels) and not -1 <= labels.min() <= labels.max() < len(pack.classes):
            raise Wrong(f"labels to {labels.max()} of {len(pack.classes)} classes")
        if len(there):
            there.gather([0, len(there) - 1])

    each(
        lambda: describe_pack(pack),
        lambda: verify(pack),
        lambda: recommend(pack.source["kind"], pack.size, 10, "val" in pack.splits),
        lambda: Preprocessing.of(pack, replace(RECIPES["cifar"], crop=8)),
        *(functools.partial(look, split) for split in pack.splits),
    )


def read_index(folder: Path, name: str) -> None:
    """An index of features: opened, read, verified and searched; and the journal of one."""
    from alexnet.search.exact import ExactSearch
    from alexnet.search.index import open_index
    from alexnet.search.writing import read_journal

    if name.endswith("features.json"):
        read_journal(folder / "begun")
        return
    index = open_index(folder / "x")

    def search() -> None:
        found = ExactSearch(index.features).search(np.zeros((1, index.dimensions)), 2)
        for place in found.indices.flatten().tolist():
            index.locate(place)
            index.gather([place])

    def look() -> None:
        if len(index.labels) != len(index) or len(index.names) != len(index):
            raise Wrong("another number of labels or names than of images")
        if not -1 <= index.labels.min() <= index.labels.max() < len(index.classes):
            raise Wrong(f"labels to {index.labels.max()} of {len(index.classes)} classes")

    each(look, search, index.verify)


def read_journal(folder: Path, name: str) -> None:
    """Going on with a packing."""
    from alexnet.packing.pack import pack

    pack(pictures(4, 2, 16), folder / "x.pack", processes=1, shard_images=7)


def read_checkpoint(folder: Path, name: str) -> None:
    """A checkpoint, as resuming, predicting and transferring use it."""
    from alexnet import checkpoint
    from alexnet.predict import load
    from alexnet.recipes.named import RECIPES
    from alexnet.training.schedule import compute_rates
    from alexnet.training.sgd import SGD

    path = folder / "run" / "last.safetensors"

    def resume() -> None:
        found = checkpoint.load(path)
        network = found.build_network()
        sgd = SGD(network, found.recipe)
        sgd.restore(found.momenta, found.position.rate, found.position.rates)
        errors = [x["val_top1"] for x in found.position.history if "val_top1" in x]
        compute_rates(found.recipe, found.position.epoch, errors)
        found.recipe.differences(RECIPES["cifar"])

    def predict() -> None:
        found = load(path, "cpu").predict(picture(0, 0))
        if not all(0 <= p <= 1 for p in found.probabilities):  # type: ignore[union-attr]
            raise Wrong("probabilities that are none")

    each(lambda: checkpoint.load_recipe(path), resume, predict)


def read_run(folder: Path, name: str) -> None:
    """The texts in a run's folder."""
    from alexnet.evaluation.measured_pack import open_run_and_pack
    from alexnet.training.log import RunLog, Screen

    run = folder / "run"
    environment = run / "environment.json"
    content = environment.read_bytes()
    environment.write_bytes(content.replace(examples.HERE, str(folder).encode()))

    each(lambda: open_run_and_pack(run, None, "val"), lambda: RunLog(run, Screen()).rewind(1, 0))


def read_log(folder: Path, name: str) -> None:
    """The log of a training, for its curves."""
    from alexnet.show.curves import draw_curves, read_log
    from alexnet.show.style import encode_figure

    log = read_log(folder / "run" / "log.jsonl")
    values = [log.step_loss, log.rate, *log.epochs.values()]
    if not all(np.isfinite(point).all() for points in values for point in points):
        raise Wrong("a point that is not finite")
    encode_figure(draw_curves(log))


def read_results(folder: Path, name: str) -> None:
    """The results of a claim."""
    from alexnet.claims.paper import find_claim
    from alexnet.claims.results import load_with_shipped
    from alexnet.claims.table import build_rows

    claim = name.removesuffix(".json")
    build_rows(find_claim(claim), load_with_shipped(claim, folder))


def read_dump(folder: Path, name: str) -> None:
    """Predictions: counted, averaged, searched and written as a submission."""
    from alexnet.evaluation.ensemble import average_predictions, search_weights
    from alexnet.evaluation.predictions import load_predictions
    from alexnet.evaluation.submission import write_submission

    good, found = load_predictions(folder / "good.npz"), load_predictions(folder / "x.npz")
    each(
        lambda: found.scores().text(per_class=True),
        lambda: json.dumps(found.scores().to_dict()),
        lambda: average_predictions([good, found]).scores(),
        lambda: search_weights([good, found]),
        lambda: write_submission(found, folder / "submission.txt"),
    )


def read_codes(folder: Path, name: str) -> None:
    """The binary codes of an index, searched."""
    from alexnet.search.code_files import open_codes, read_encoder
    from alexnet.search.index import open_index

    index = open_index(folder / "x.index")
    queries = np.zeros((2, index.dimensions), np.float32)

    def search() -> None:
        indices, distances = open_codes(index).search(queries, 3)
        if indices.min() < 0 or indices.max() >= len(index) or not np.isfinite(distances).all():
            raise Wrong(f"indices to {indices.max()} of {len(index)} images")

    each(lambda: read_encoder(index)[0].encode(queries), search)


def read_card(folder: Path, name: str) -> None:
    """What an exported file says of itself."""
    from alexnet.exporting.metadata import ExportMetadata

    text = (folder / name).read_text("utf-8", "replace")
    card = ExportMetadata.from_text(text, folder / name)
    card.to_text()


def read_portable(folder: Path, name: str) -> None:
    """An exported file, asked about an image."""
    from alexnet.predict import load

    load(folder / (name if name.endswith(".onnx") else "x.xml"), "cpu").predict(picture(0, 0))


def read_hub(folder: Path, name: str) -> None:
    """A folder for the hub, asked about an image."""
    from alexnet.predict import load

    found = load(folder / "hub", "cpu").predict(picture(0, 0))
    if not all(0 <= p <= 1 for p in found.probabilities):  # type: ignore[union-attr]
        raise Wrong("probabilities that are none")


def read_reported(folder: Path, name: str) -> None:
    """The files that a report is made of; the report itself is text and nothing else."""
    from alexnet.show.report import render_report
    from alexnet.show.run_facts import read_run_facts

    environment = folder / "run" / "environment.json"
    environment.write_bytes(environment.read_bytes().replace(examples.HERE, str(folder).encode()))
    page = render_report(read_run_facts(folder / "run"))
    page.encode("utf-8")
    if "<script" in page or "\x1b" in page:
        raise Wrong("a report with markup or control characters of others")


def read_recipe(folder: Path, name: str) -> None:
    """A recipe of JSON, and the network and the rates of it."""
    import torch

    from alexnet.nets.variations import network_of
    from alexnet.recipes.named import RECIPES
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.schedule import compute_rates

    try:
        fields = json.loads((folder / name).read_bytes())
    except (ValueError, RecursionError):
        return  # whoever reads recipes has parsed them
    if not isinstance(fields, dict):
        return
    recipe = Recipe.from_dict(fields)

    def build() -> None:
        with torch.device("meta"):
            network_of(recipe, 10)

    each(
        build,
        lambda: compute_rates(recipe, 1.5, [0.5, 0.4]),
        lambda: recipe.differences(RECIPES["paper"]),
    )


def read_settings(folder: Path, name: str) -> None:
    """The file of `--config`, and the command line that it becomes a part of."""
    from alexnet import cli
    from alexnet.commands import COMMANDS

    command = cli._parse(COMMANDS, ["train", "photos", "--config", str(folder / name)])
    if (command.images, command.run_folder, command.resume) != ("photos", None, None):
        raise Wrong("a file that changes what is trained on, or where")
    if command.dry_run or command.print_config:
        raise Wrong("a file that says what to do")


def settings_files() -> list[Files]:
    """A file with an option of each type, a printed recipe, and the recipe of a run."""
    from alexnet.commands.config_file import format_recipe
    from alexnet.recipes.named import RECIPES

    recipe = RECIPES["original-145"]
    options = (
        'recipe = "small"\nepochs = 10\nlearning_rate = 0.005\nrates = ["conv1=0.1", "conv2=1"]\n'
        'precision = "bf16"\nflip = false\ncompile = true\nsave_minutes = 3.5\ntime = "20m"\n'
        'init = "runs/first"\ntake = ["conv1"]\nquiet = true\njson = false\n'
    )
    return [
        {"settings.toml": options.encode()},
        {"settings.toml": format_recipe("original-145", recipe.to_dict()).encode()},
        {"recipe.json": json.dumps(recipe.to_dict()).encode()},
    ]


def recipe_files() -> list[Files]:
    """The named recipes as JSON."""
    from alexnet.recipes.named import RECIPES

    texts = {json.dumps(recipe.to_dict()) for recipe in RECIPES.values()}
    return [{"recipe.json": text.encode()} for text in sorted(texts)[:8]]


def read_foreign_weights(folder: Path, name: str) -> None:
    """Weights of another program, as `alexnet import` reads them.

    The examples are too small to be the network, so that they are another one is no refusal.
    """
    from alexnet.importing import layouts
    from alexnet.importing.caffe_files import read_binaryproto, read_caffemodel
    from alexnet.importing.class_names import read_class_names
    from alexnet.importing.torch_files import read_pth, read_safetensors

    path = folder / name
    if path.suffix == ".binaryproto":
        read_binaryproto(path)
    elif path.suffix in (".txt", ".json"):
        found = read_class_names(path, 3)
        if len(set(found.names)) != 3:
            raise Wrong("two classes of one name")
    elif path.suffix == ".caffemodel":
        layers = read_caffemodel(path)
        with contextlib.suppress(ValueError):
            layouts.rename_caffe(layers, path)
    else:
        tensors = (read_pth if path.suffix == ".pth" else read_safetensors)(path)
        with contextlib.suppress(ValueError):
            layouts.rename_torchvision(tensors, path)


def foreign_weights() -> list[Files]:
    """A file of each format that `alexnet import` reads, with few weights."""
    import io

    import torch
    from safetensors.torch import save
    from tests.importing import foreign

    tensors = {"features.0.weight": torch.ones(2, 3), "features.0.bias": torch.ones(2)}
    pth = io.BytesIO()
    torch.save(tensors, pth)
    old_pth = io.BytesIO()
    torch.save({"state_dict": tensors}, old_pth, _use_new_zipfile_serialization=False)
    arrays = {name: (np.ones((2, 3)), np.ones(2)) for name in foreign.SHAPES}
    names = "n01440764 tench\nn01443537 goldfish\nn02012849 crane\n"
    index = {"0": ["n01440764", "tench"], "1": ["n01443537", "a"], "2": ["n02012849", "a"]}
    return [
        {"x.pth": pth.getvalue()},
        {"x.pth": old_pth.getvalue()},
        {"x.safetensors": save(tensors)},
        {"x.caffemodel": foreign.caffemodel(arrays, True, old=True)},
        {"x.caffemodel": foreign.caffemodel(arrays, False)},
        {"x.binaryproto": foreign.blob(np.ones((3, 4, 4)))},
        {"x.txt": names.encode()},
        {"x.json": json.dumps(index).encode()},
    ]


def card_files() -> list[Files]:
    """The card of a run."""
    from alexnet import checkpoint
    from alexnet.exporting.metadata import ExportMetadata

    with examples.tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "last.safetensors")
        path.write_bytes(examples.trained()["run/last.safetensors"])
        return [
            {
                "card.json": ExportMetadata.of(checkpoint.load(path), "float32", "records")
                .to_text()
                .encode()
            }
        ]


def hub_files() -> list[Files]:
    """A run as a folder for the hub."""
    from alexnet import checkpoint
    from alexnet.exporting.hub import write_hub_folder

    with examples.tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "last.safetensors").write_bytes(examples.trained()["run/last.safetensors"])
        trained = checkpoint.load(folder / "last.safetensors")
        write_hub_folder(trained, folder / "hub", "<script>", [], None)
        return [{f"hub/{path.name}": path.read_bytes() for path in (folder / "hub").iterdir()}]


def reported_files() -> list[Files]:
    """A run with scores, on a pack of which files were skipped."""
    counts = {"seen": 4, "wrong1": 1, "wrong5": 0}
    scores = {
        **{name: 3 * count for name, count in counts.items()},
        "loss": 0.5,
        "split": "val",
        "views": 1,
        "pack": {"path": "x.pack", "checksum": "0"},
        "checkpoint": {"path": "run/best.safetensors", "sha256": "0"},
        "per_class": dict.fromkeys(CLASSES, counts),
    }
    skipped = {"split": "train", "path": "<script>\x1b", "reason": "empty", "detail": "\ud800"}
    same = {"split": "val", "path": "<script>", "same_split": "train", "same_path": "\u202e"}
    return [
        {
            **examples.trained(1),
            "run/scores.json": json.dumps(scores).encode(),
            "x.pack/skipped.jsonl": (json.dumps(skipped) + "\n").encode(),
            "x.pack/duplicates.jsonl": (json.dumps(same) + "\n").encode(),
        }
    ]


REPORTED = "scores.json", "skipped.jsonl", "duplicates.jsonl", "environment.json"
"""The files that only a report reads, or that it reads in another way."""


def dump_files() -> list[Files]:
    """Predictions, and the same again."""
    content = examples.trained()["x.npz"]
    return [{"good.npz": content, "x.npz": content}]


def code_files() -> list[Files]:
    """A small index with codes of 64 bits."""
    from tests.search.feature_arrays import draw_features, write_index

    from alexnet.search.autoencoder import EncoderOptions
    from alexnet.search.code_training import train_codes

    with examples.tempfile.TemporaryDirectory() as folder:
        index = write_index(Path(folder, "x.index"), draw_features(30, 8), 16)
        train_codes(index, EncoderOptions(bits=64, steps=2))
        return [examples.read_folder(Path(folder))]


def portable_files() -> list[Files]:
    """The exported files, if they can be made here."""
    files = examples.portable()
    return [files] if files else []


def result_files() -> list[Files]:
    """The results that come with the package."""
    from alexnet.claims.results import SHIPPED

    paths = sorted(SHIPPED.glob("*.json"), key=os.path.getsize)[:4]
    return [{path.name: path.read_bytes()} for path in paths]


def image_examples(name: str) -> list[Files]:
    """The pictures of a format, one a folder."""
    return [{file: content} for file, content in examples.IMAGES[name]()]


ARCHIVES = "tar", "tar.gz", "tar.bz2", "tar.xz"
READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        *(
            Reader(
                f"image-{name}",
                functools.partial(image_examples, name),
                read_image,
                share=2.0,
                guarded=True,
                memory=BYTES_PER_PIXEL * MOST_PIXELS + OWN_NEEDS,
            )
            for name in examples.IMAGES
        ),
        Reader(
            "workers",
            lambda: [x for name in examples.IMAGES for x in image_examples(name)],
            read_through_workers,
            2.0,
        ),
        *(
            Reader(
                ending,
                functools.partial(lambda ending: [examples.photo_tar(ending)], ending),
                read_file,
                share=4.0 if ending == "tar" else 1.0,
                memory=PACKING_MEMORY,
            )
            for ending in ARCHIVES
        ),
        Reader("zip", examples.photo_zip, read_file, 4.0, memory=PACKING_MEMORY),
        Reader("lists", examples.lists, read_file, 6.0, (".csv", ".tsv", ".jsonl")),
        Reader("mnist", examples.mnist, read_source, 5.0, memory=PACKING_MEMORY),
        Reader("cifar", examples.cifar, read_source, 3.0, memory=PACKING_MEMORY),
        Reader("norb", examples.norb, read_source, 4.0, memory=PACKING_MEMORY),
        Reader("ilsvrc", examples.ilsvrc, read_source, 2.0, memory=PACKING_MEMORY),
        Reader("folders", list, folders.read, 1.0, make=folders.make),
        Reader(
            "packs",
            lambda: [examples.small_pack(), examples.small_pack(pixels="yuv420")],
            read_pack,
            4.0,
        ),
        Reader(
            "journals", lambda: [examples.unfinished_pack()], read_journal, 0.4, ("packing.json",)
        ),
        Reader("indexes", lambda: [examples.feature_index()], read_index, 2.0),
        Reader(
            "checkpoints",
            lambda: [examples.trained(2)],
            read_checkpoint,
            1.0,
            ("last.safetensors",),
        ),
        Reader(
            "runs", lambda: [examples.trained(2)], read_run, 0.5, ("environment.json", "log.jsonl")
        ),
        Reader("logs", lambda: [examples.trained(2)], read_log, 0.05, ("log.jsonl",)),
        Reader("weights", foreign_weights, read_foreign_weights, 3.0),
        Reader("results", result_files, read_results, 1.0),
        Reader("dumps", dump_files, read_dump, 1.0, ("x.npz",)),
        Reader(
            "codes",
            code_files,
            read_codes,
            1.0,
            ("codes.json", "codes.npy", "encoder.safetensors"),
        ),
        Reader("cards", card_files, read_card, 3.0),
        Reader("portable", portable_files, read_portable, 0.05, (".onnx", ".xml", ".bin")),
        Reader("hub", hub_files, read_hub, 1.0, ("config.json", ".safetensors")),
        Reader("reports", reported_files, read_reported, 0.5, REPORTED),
        Reader("recipes", recipe_files, read_recipe, 3.0),
        Reader("settings", settings_files, read_settings, 0.3),
        Reader("commands", lambda: [examples.trained(1)], commands.read, 0.05, make=commands.make),
    )
}
"""All of them, by name."""
