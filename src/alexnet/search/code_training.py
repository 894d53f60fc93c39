"""Makes the binary codes of an index: trains the encoder, encodes every image, measures, commits.

    sample of features ──train──▶ encoder.safetensors
           all features ──encode──▶ codes.npy ──measure──▶ codes.json

Each file is written whole or not at all, and codes.json last, after that of older codes has been
removed: codes without it do not count. A killed `train_codes` is given again: it uses the encoder
if that was finished with the same options, and encodes anew, which takes less time than reading the
features. `alexnet codes` calls `train_codes`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.files import lock_folder, replace_bytes, replace_file, replace_json
from alexnet.packs.checked_files import HEADER_BYTES, crc32
from alexnet.packs.schema import DIGEST, compute_digest
from alexnet.search.autoencoder import Encoder, EncoderOptions, train_encoder
from alexnet.search.code_files import (
    CODES,
    ENCODER,
    FORMAT,
    METADATA,
    VERSION,
    map_codes,
    open_codes,
    read_encoder,
    serialize_encoder,
)
from alexnet.search.codes import BinaryCodes
from alexnet.search.index import FeatureIndex, open_index
from alexnet.search.recall import TARGET, choose_shortlist, draw_queries, measure_methods
from alexnet.terminal import format_count

BLOCK_ROWS = 4096
"""Images that are encoded at a time: 64 MB of features of the paper's network."""
LEAST_IMAGES = 20
"""Fewer are searched exactly in no time, and leave nothing to train on beside the queries."""
Report = Callable[[int, int, str], None]
"""A function that is told how much is done, how much there is, and what is being done."""


def train_codes(
    index: FeatureIndex | str | Path,
    options: EncoderOptions | None = None,
    *,
    target: float = TARGET,
    report: Report = lambda *_: None,
) -> BinaryCodes:
    """Train an encoder on an index, write the codes of all its images into its folder; open them.

    Parameters
    ----------
    index
        An index or the path of one. Codes that it has already are replaced.
    options
        Length of the codes and what else determines the encoder; by default `EncoderOptions()`.
    target
        The shortlist is made as long as this recall@10 after re-ranking requires.
    report
        Called now and then with the progress.

    Raises ValueError for an index of fewer than LEAST_IMAGES images or of features that are not
    finite, and for a target outside 0 … 1; BlockingIOError if another process works in the folder;
    OSError if a file cannot be written.

    >>> options = alexnet.EncoderOptions(bits=64, steps=5)
    >>> alexnet.train_codes("photos.index", options).bits
    64
    """
    index = index if isinstance(index, FeatureIndex) else open_index(index)
    options = options or EncoderOptions()
    if len(index) < LEAST_IMAGES:
        raise ValueError(
            f"{index.path} has {format_count(len(index), 'image')}, and codes can be trained "
            f"on {LEAST_IMAGES} or "
            "more. Search without codes"
        )
    if not 0 < target <= 1:
        raise ValueError(f"the target recall is {target:g}, not between 0 and 1")
    with lock_folder(index.path, "making binary codes"):
        (index.path / METADATA).unlink(missing_ok=True)
        encoder = _reuse_encoder(index, options) or _train(index, options, report)
        write_codes(index, encoder, report)
        _commit(index, encoder, options, target, report)
    return open_codes(index)


def _reuse_encoder(index: FeatureIndex, options: EncoderOptions) -> Encoder | None:
    """Return the encoder in the folder if it was trained on this index with these options."""
    with suppress(OSError, ValueError):
        encoder, metadata = read_encoder(index)
        if metadata.options == options:
            return encoder
    return None


def _train(index: FeatureIndex, options: EncoderOptions, report: Report) -> Encoder:
    """Train an encoder on images of the index that are not among the queries, and write it."""
    queries = draw_queries(len(index), options.seed)
    others = np.setdiff1d(np.arange(len(index)), queries)
    generator = np.random.default_rng(options.seed)
    sample = generator.choice(others, min(options.sample, len(others)), replace=False)
    report(0, options.steps, f"reading the features of {format_count(len(sample), 'image')}")
    features = torch.from_numpy(index.gather(np.sort(sample)))  # in order, as the disk has them
    encoder = train_encoder(features, options, report)
    replace_bytes(index.path / ENCODER, serialize_encoder(encoder, index, options))
    return encoder


def write_codes(index: FeatureIndex, encoder: Encoder, report: Report) -> None:
    """Encode all images and write codes.npy. The features are read once, in order."""

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            file.write(_make_header((len(index), encoder.bits // 8)))
            done = 0
            for shard in index.features:
                for first in range(0, len(shard), BLOCK_ROWS):
                    block = shard[first : first + BLOCK_ROWS]
                    file.write(encode_block(encoder, block))
                    done += len(block)
                    report(
                        done,
                        len(index),
                        f"encoding  {done:,} of {format_count(len(index), 'image')}",
                    )

    replace_file(index.path / CODES, write)


def encode_block(encoder: Encoder, block: NDArray[Any]) -> bytes:
    """Encode rows of a shard, float16 or float32 (n, D), to the bytes of their codes."""
    return encoder.encode(torch.from_numpy(block.astype(np.float32))).tobytes()


def _make_header(shape: tuple[int, ...]) -> bytes:
    """Make the header of a .npy file of uint8, padded to 128 bytes as all of this program's are."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    return start + text.encode().ljust(HEADER_BYTES - 11) + b"\n"


def _commit(
    index: FeatureIndex, encoder: Encoder, options: EncoderOptions, target: float, report: Report
) -> None:
    """Measure the search with the codes, choose the shortlist and write codes.json."""
    report(0, 1, "measuring the search")
    queries = draw_queries(len(index), options.seed)
    codes = BinaryCodes(index, encoder, map_codes(index, encoder.bits), shortlist=1)
    codes = replace(codes, shortlist=choose_shortlist(codes, queries[::2], target))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "images": len(index),
        "bits": encoder.bits,
        "index_sha256": index.metadata.metadata_sha256,
        "encoder_crc32": crc32(index.path / ENCODER),
        "codes_crc32": crc32(index.path / CODES),
        "shortlist": codes.shortlist,
        "target": target,
        "queries": len(queries[1::2]),
        "scores": [vars(score) for score in measure_methods(codes, queries[1::2])],
    }
    replace_json(index.path / METADATA, {**content, DIGEST: compute_digest(content)})
