"""The JSON in a checkpoint file: everything in a checkpoint that is not a tensor.

A safetensors file has a header with a table of names and texts, its metadata. Three of them are
ours:

    alexnet         the JSON of `Metadata`
    alexnet_crc32   the CRC-32 of that text
    tensors_crc32   the CRC-32 of all tensors (`checks.compute_tensors_crc32`)

Files of the first versions have `alexnet` alone, and are read without comparing checksums. Called
by `checkpoint.file` only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.checkpoint.checks import compare_checksums, compute_text_crc32
from alexnet.checkpoint.state import Checkpoint, Position
from alexnet.recipes.recipe import Recipe
from alexnet.validate import check, parse_json

FORMAT = 1
META, META_CRC, TENSORS_CRC = "alexnet", "alexnet_crc32", "tensors_crc32"


@dataclass(frozen=True)
class Metadata:
    """What the JSON has to be; `validate.check` compares it field by field."""

    recipe: Recipe
    classes: tuple[str, ...]
    wordnet_ids: tuple[str, ...] | None
    pack_checksum: str
    preprocessing: dict[str, Any]
    """The settings of a Preprocessing, without its tensors."""
    position: Position
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Raise ValueError if classes share a name, or are not as many as their WordNet ids."""
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"{len(self.classes)} classes have {len(set(self.classes))} names")
        if self.wordnet_ids and len(self.wordnet_ids) != len(self.classes):
            raise ValueError(f"{len(self.wordnet_ids)} WordNet ids for {len(self.classes)} classes")


def write_metadata(checkpoint: Checkpoint, tensors_crc: str) -> dict[str, str]:
    """Return the names and texts for the header of a checkpoint's file."""
    text = json.dumps(
        {
            "format": FORMAT,
            "recipe": checkpoint.recipe.to_dict(),
            "classes": checkpoint.classes,
            "wordnet_ids": checkpoint.wordnet_ids,
            "pack_checksum": checkpoint.pack_checksum,
            "preprocessing": checkpoint.preprocessing.settings(),
            "position": asdict(checkpoint.position),
        }
    )
    return {META: text, META_CRC: compute_text_crc32(text), TENSORS_CRC: tensors_crc}


def read_metadata(header: dict[str, str], path: Path) -> Metadata:
    """Check and parse the texts of a header. Raises ValueError, naming `path`, for any others."""
    if META in header and set(header) not in ({META}, {META, META_CRC, TENSORS_CRC}):
        raise ValueError(
            f"the metadata of {path} are damaged: they hold {', '.join(sorted(header))}"
        )
    text = header.get(META, "null")
    if (wanted := header.get(META_CRC)) is not None:
        compare_checksums(wanted, compute_text_crc32(text), "the metadata", path)
    content = parse_json(text, f"the metadata of {path}")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this program: its metadata has no `alexnet` entry of "
            f"format {FORMAT}. Train a network: alexnet train PACK"
        )
    metadata: Metadata = check(content, Metadata, str(path))
    return metadata
