"""The files of binary codes in the folder of an index: checked and opened.

`code_training` adds three files to the folder of an index:

    INDEX/
      encoder.safetensors   weight float32 (bits, D), bias float32 (bits,); metadata "alexnet": JSON
      codes.npy             uint8 (N, bits / 8)   bit i of a code is the sign of output i of the
                            encoder, most significant bit first
      codes.json            the metadata (`CodesMetadata`); written last, removed first

codes.json names the index by the digest of its metadata: codes of an index that was made anew are
refused. Everything that searches by codes opens them through `open_codes`. This module never
imports `code_training`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from alexnet.kernels.hamming.operator import WORD_BITS
from alexnet.packs.checked_files import check_exists, crc32, map_array
from alexnet.packs.schema import DIGEST, compute_digest
from alexnet.search.autoencoder import MOST_BITS, Encoder, EncoderOptions
from alexnet.search.codes import BinaryCodes
from alexnet.search.distances import Metric
from alexnet.search.index import FeatureIndex, open_index
from alexnet.search.recall import MethodScores
from alexnet.validate import Range, check, parse_json, read_json

FORMAT, VERSION = "alexnet codes", 1
ENCODER, CODES, METADATA = "encoder.safetensors", "codes.npy", "codes.json"
LARGEST = 1 << 20
"""Maximum size of codes.json in bytes."""
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class CodesMetadata:
    """All fields of codes.json."""

    format: Literal["alexnet codes"]
    version: Literal[1]
    images: Annotated[int, Range(1, 1 << 53)]
    """N, as in index.json."""
    bits: Annotated[int, Range(WORD_BITS, MOST_BITS)]
    index_sha256: str
    """The digest in index.json."""
    encoder_crc32: str
    codes_crc32: str
    shortlist: Annotated[int, Range(1, 1 << 53)]
    """Length of the shortlist that was chosen by measurement."""
    target: Share
    """The recall that it was chosen for."""
    queries: Annotated[int, Range(0, 1 << 53)]
    """Number of images, unknown to the encoder, that the scores were measured with."""
    scores: tuple[MethodScores, ...]
    metadata_sha256: str
    """SHA-256 of all other fields."""

    def __post_init__(self) -> None:
        """Raise ValueError for a length that no code has."""
        if self.bits % WORD_BITS:
            raise ValueError(f"bits is {self.bits}, not a multiple of {WORD_BITS}")


@dataclass(frozen=True)
class EncoderMetadata:
    """The JSON in encoder.safetensors."""

    index_sha256: str
    tensors_crc32: str
    options: EncoderOptions


def open_codes(index: FeatureIndex | str | Path, metric: Metric = "euclidean") -> BinaryCodes:
    """Open the binary codes of an index and compare them with their checksums.

    `metric`: the distance between features that puts the candidates of a search in order.

    Raises FileNotFoundError if there is no finished index or it has no codes, and ValueError if the
    codes are damaged, belong to another state of the index, or were made by a later version.

    >>> alexnet.open_codes("photos.index").bits
    64
    """
    index = index if isinstance(index, FeatureIndex) else open_index(index)
    metadata = read_metadata(index)
    for name, crc in ((ENCODER, metadata.encoder_crc32), (CODES, metadata.codes_crc32)):
        check_exists(index.path / name, report_damaged_codes)
        if crc32(index.path / name) != crc:
            raise report_damaged_codes(f"{index.path / name} has other bytes than were written")
    encoder, _ = read_encoder(index)
    if encoder.bits != metadata.bits:
        raise report_damaged_codes(
            f"{index.path / ENCODER} makes {encoder.bits} bits, not {metadata.bits}"
        )
    codes = map_codes(index, metadata.bits)
    return BinaryCodes(index, encoder, codes, metadata.shortlist, metric)


def read_metadata(index: FeatureIndex) -> CodesMetadata:
    """Read and check codes.json.

    Raises FileNotFoundError if there is none, and ValueError as `open_codes` does.
    """
    path = index.path / METADATA
    try:
        raw = read_json(path, LARGEST)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{index.path} has no binary codes. Make them: alexnet codes {index.path}"
        ) from None
    except ValueError as error:
        raise report_damaged_codes(str(error)) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise report_damaged_codes(f"{path} does not describe binary codes")
    version = raw.get("version")
    if type(version) is int and VERSION < version < 1 << 53:
        raise ValueError(
            f"{path} has version {version} of the format, this program reads {VERSION}. Update it"
        )
    try:
        metadata: CodesMetadata = check(raw, CodesMetadata, str(path))
        if metadata.metadata_sha256 != compute_digest(raw):
            raise ValueError(f"{path} was changed: it does not agree with its {DIGEST}")
    except ValueError as error:
        raise report_damaged_codes(str(error)) from error
    if metadata.index_sha256 != index.metadata.metadata_sha256 or metadata.images != len(index):
        raise ValueError(
            f"the binary codes of {index.path} belong to another state of the index. Make them "
            f"again: alexnet codes {index.path}"
        )
    return metadata


def map_codes(index: FeatureIndex, bits: int) -> NDArray[np.uint8]:
    """Memory-map the codes, read-only: uint8 (N, bits / 8). Raises ValueError for another shape."""
    return map_array(index.path / CODES, (len(index), bits // 8), np.uint8, report_damaged_codes)


def serialize_encoder(encoder: Encoder, index: FeatureIndex, options: EncoderOptions) -> bytes:
    """Return the content of encoder.safetensors."""
    tensors = {"weight": encoder.weight, "bias": encoder.bias}
    metadata = {
        "index_sha256": index.metadata.metadata_sha256,
        "tensors_crc32": _compute_crc(encoder),
        "options": vars(options),
    }
    return save(tensors, {"alexnet": json.dumps(metadata)})


def read_encoder(index: FeatureIndex) -> tuple[Encoder, EncoderMetadata]:
    """Read the encoder in the folder of an index and compare it with its checksum.

    Raises FileNotFoundError if there is none, and ValueError if it is damaged, does not fit the
    features, or was trained on another state of the index.
    """
    path = index.path / ENCODER
    largest = 4 * MOST_BITS * (index.dimensions + 1) + LARGEST
    if path.stat().st_size > largest:
        raise report_damaged_codes(f"{path} has more than {largest:,} bytes")
    content = path.read_bytes()
    try:
        tensors = load(content)
        metadata = _read_encoder_metadata(content)
        encoder = _build_encoder(tensors, index.dimensions, metadata.options.bits)
        if _compute_crc(encoder) != metadata.tensors_crc32:
            raise ValueError("its tensors are not those that were written")
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: an unknown type
        raise report_damaged_codes(f"{path}: {error}") from error
    if metadata.index_sha256 != index.metadata.metadata_sha256:
        raise ValueError(
            f"{path} belongs to another state of the index. Make it again: alexnet codes "
            f"{index.path}"
        )
    return encoder, metadata


def _read_encoder_metadata(content: bytes) -> EncoderMetadata:
    """Parse and check the JSON in the header of a safetensors file that has been loaded."""
    header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")], "its header")
    texts = header.get("__metadata__") or {}
    place = "its metadata"
    metadata: EncoderMetadata = check(
        parse_json(texts.get("alexnet", "null"), place), EncoderMetadata, place
    )
    return metadata


def _build_encoder(tensors: dict[str, torch.Tensor], dimensions: int, bits: int) -> Encoder:
    """Check types and shapes. Raises ValueError for others, and for values that are not finite."""
    wanted = {"weight": (bits, dimensions), "bias": (bits,)}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != wanted or any(x.dtype != torch.float32 for x in tensors.values()):
        raise ValueError(f"it holds {found}, not {wanted} in float32")
    if not all(torch.isfinite(x).all() for x in tensors.values()):
        raise ValueError("it holds NaN or infinite values")
    return Encoder(tensors["weight"], tensors["bias"])


def _compute_crc(encoder: Encoder) -> str:
    """The CRC-32 of weight and bias, as eight hexadecimal digits."""
    weight, bias = (x.contiguous().numpy().tobytes() for x in (encoder.weight, encoder.bias))
    return f"{zlib.crc32(bias, zlib.crc32(weight)):08x}"


def report_damaged_codes(problem: str) -> ValueError:
    """Make the error for a problem of a file of codes, which tells the user to make them again."""
    return ValueError(
        f"the binary codes are damaged: {problem}. Make them again: alexnet codes INDEX"
    )
