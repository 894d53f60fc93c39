"""A network as a folder for the Hugging Face hub, written and read.

    FOLDER/
      model.safetensors           the weights, by the names of the network's layers; nothing else
      preprocessing.safetensors   the mean image and the color components
      config.json                 network, recipe, classes, preprocessing in numbers and in English
      README.md                   the model card, with a header in YAML (`hub_card`)

Nothing in it is pickled, and reading it runs none of its content. `export` writes a folder,
`predict.load` and `comparison` read one. The texts of names are escaped where the formats need it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint, Position
from alexnet.checkpoint.checks import check_shapes, compare_checksums, compute_tensors_crc32
from alexnet.evaluation.stored_scores import StoredScores
from alexnet.exporting.hub_card import write_hub_card
from alexnet.exporting.metadata import COLORS, INPUT, OUTPUT, describe_resizing
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.validate import check, read_json

FORMAT, VERSION = "alexnet hub folder", 1
MODEL, PREPROCESSING = "model.safetensors", "preprocessing.safetensors"
CONFIG, CARD = "config.json", "README.md"
FILES = MODEL, PREPROCESSING, CARD, CONFIG
"""The files of a folder, in the order in which they are put into place: config.json last."""
LARGEST_CONFIG = 1 << 26
"""Bytes of config.json, at most."""


@dataclass(frozen=True)
class HubConfig:
    """The entries of config.json that this package reads; the others are for people."""

    format: Literal["alexnet hub folder"]
    version: Literal[1]
    recipe: Recipe
    id2label: dict[str, str]
    """The class of each output: {"0": "tench", …}."""
    wordnet_ids: tuple[str, ...] | None
    preprocessing: dict[str, Any]
    pack_checksum: str
    checksums: dict[str, str]
    """The CRC-32 of the tensors in each safetensors file."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the classes are numbered from 0 on and have different names."""
        if list(self.id2label) != [str(i) for i in range(len(self.id2label))] or not self.id2label:
            raise ValueError("id2label does not number the classes from 0 on")
        if len(set(self.id2label.values())) != len(self.id2label):
            raise ValueError("two classes have the same name")
        if self.wordnet_ids and len(self.wordnet_ids) != len(self.id2label):
            raise ValueError(
                f"{len(self.wordnet_ids)} WordNet ids for {len(self.id2label)} classes"
            )


def write_hub_folder(
    trained: Checkpoint,
    folder: Path,
    name: str,
    scores: list[StoredScores],
    pack: Pack | None,
) -> None:
    """Write the files of a folder, which must not exist yet; `name` is the title of its card."""
    folder.mkdir()
    weights = {k: v.detach().cpu().contiguous() for k, v in trained.weights.items()}
    arrays = {k: v.cpu().contiguous() for k, v in trained.preprocessing.tensors().items()}
    save_file(weights, folder / MODEL, {"format": "pt"})
    save_file(arrays, folder / PREPROCESSING, {"format": "pt"})
    checksums = {
        MODEL: compute_tensors_crc32(weights),
        PREPROCESSING: compute_tensors_crc32(arrays),
    }
    config = json.dumps(_describe(trained, checksums), indent=2)
    (folder / CONFIG).write_text(config + "\n", "ascii")
    for file in (MODEL, PREPROCESSING):  # which safetensors makes readable by their owner only
        shutil.copymode(folder / CONFIG, folder / file)
    (folder / CARD).write_text(write_hub_card(trained, name, scores, pack), "utf-8")


def _describe(trained: Checkpoint, checksums: dict[str, str]) -> dict[str, Any]:
    """Return the content of config.json."""
    preprocessing, classes = trained.preprocessing, trained.classes
    settings = preprocessing.settings()
    return {
        "format": FORMAT,
        "version": VERSION,
        "model_type": "alexnet",
        "architectures": [type(trained.build_network()).__name__],
        "network": trained.recipe.network,
        "num_labels": len(classes),
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "wordnet_ids": trained.wordnet_ids,
        "input": (INPUT["images"] + COLORS[preprocessing.pixels]).format(**settings),
        "output": OUTPUT["images"],
        "resize": describe_resizing(preprocessing),
        "order": "RGB",
        "scale": preprocessing.pixel_scale,
        "mean": preprocessing.mean.float().mean((0, 1)).tolist(),
        "mean_image": f"{PREPROCESSING}: mean, float32 (side, side, 3), 0 to 255",
        "preprocessing": settings,
        "recipe": trained.recipe.to_dict(),
        "pack_checksum": trained.pack_checksum,
        "checksums": checksums,
    }


def is_hub_folder(path: Path) -> bool:
    """Return whether a path is a folder with the files that `write_hub_folder` writes."""
    return (path / CONFIG).is_file() and (path / MODEL).is_file()


def read_hub_folder(folder: Path) -> Checkpoint:
    """Read a folder as a checkpoint without momenta, at the beginning of a training.

    Raises ValueError, naming the file, for one that is damaged, that does not fit the others, or
    that another program has written, and OSError if it cannot be read.
    """
    config = _read_config(folder / CONFIG)
    weights = _load_tensors(folder / MODEL, config.checksums.get(MODEL, ""))
    arrays = _load_tensors(folder / PREPROCESSING, config.checksums.get(PREPROCESSING, ""))
    place = f"{folder / PREPROCESSING} with {CONFIG}"
    trained = Checkpoint(
        recipe=config.recipe,
        classes=tuple(config.id2label.values()),
        wordnet_ids=config.wordnet_ids or None,
        pack_checksum=config.pack_checksum,
        preprocessing=Preprocessing.restore(config.preprocessing, arrays, place),
        position=Position(),
        weights=weights,
        momenta={},
    )
    check_shapes(trained, folder / MODEL, weights_only=True)
    return trained


def _read_config(path: Path) -> HubConfig:
    """Read config.json. Raises ValueError, naming the entry, for one of another program."""
    content = read_json(path, LARGEST_CONFIG)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} does not describe a network of this program (its format is not {FORMAT!r}). "
            "Make a folder: alexnet export RUN FOLDER"
        )
    known = {field.name for field in fields(HubConfig)}
    kept = {name: value for name, value in content.items() if name in known}
    config: HubConfig = check(kept, HubConfig, str(path))
    return config


def _load_tensors(path: Path, wanted: str) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ValueError if it is damaged or has another checksum."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: copy the whole folder again") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is no complete safetensors file ({error})") from error
    compare_checksums(wanted, compute_tensors_crc32(tensors), "the tensors", path)
    return tensors
