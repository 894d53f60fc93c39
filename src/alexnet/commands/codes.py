"""`alexnet codes`: short binary codes for the images of an index, and what they are worth.

The command parses its arguments here and prints a table; `alexnet.search` does the rest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from alexnet.terminal import format_count

if TYPE_CHECKING:
    from alexnet.search.code_files import CodesMetadata
    from alexnet.search.codes import BinaryCodes


@dataclass(frozen=True)
class Codes:
    """Train an autoencoder that compresses features to short binary codes, and write the codes of
    all images into the index. A search then reads a hundredth of the bytes (section 6.1): alexnet
    similar --codes."""

    index: Positional[Path]
    """The folder that `alexnet features` wrote."""
    bits: int = 256
    """Length of a code: a multiple of 64. Longer codes find more of the nearest images."""
    recall: float = 0.98
    """Choose the number of candidates whose features are compared so that this share of the ten
    nearest images is found."""
    steps: int = 500
    """Training steps of the autoencoder."""
    sample: int = 20_000
    """Train on so many images of the index, at most."""
    seed: int = 0
    """Seed of all random numbers."""
    measure: bool = False
    """Measure the codes that the index has; train nothing and write nothing."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Make the codes, or measure those that exist, and print what they are worth."""
        from alexnet.search.code_files import open_codes, read_metadata

        codes = open_codes(self.index) if self.measure else self.train()
        metadata = read_metadata(codes.index)
        if self.measure:
            metadata = self.measure_again(codes, metadata)
        form = summarize if self.json else format_table
        print(form(codes, metadata))
        return 0

    def train(self) -> BinaryCodes:
        """Train the autoencoder and write the codes, with a progress bar."""
        from alexnet.screen import Bar
        from alexnet.search.autoencoder import EncoderOptions
        from alexnet.search.code_training import train_codes

        options = EncoderOptions(self.bits, self.sample, self.steps, seed=self.seed)
        with Bar() as bar:
            return train_codes(self.index, options, target=self.recall, report=bar.show)

    def measure_again(self, codes: BinaryCodes, metadata: CodesMetadata) -> CodesMetadata:
        """Return the metadata of codes with scores that are measured now."""
        from dataclasses import replace

        from alexnet.search.code_files import read_encoder
        from alexnet.search.recall import draw_queries, measure_methods

        seed = read_encoder(codes.index)[1].options.seed
        queries = draw_queries(len(codes), seed)[1::2]
        return replace(metadata, scores=measure_methods(codes, queries))


def summarize(codes: BinaryCodes, metadata: CodesMetadata) -> str:
    """Return what `--json` prints, one object."""
    names = "images", "bits", "shortlist", "target", "queries"
    facts = {name: getattr(metadata, name) for name in names}
    content = {
        "index": str(codes.index.path),
        **facts,
        "dimensions": codes.index.dimensions,
        "scores": [asdict(score) for score in metadata.scores],
    }
    return json.dumps(content, indent=2)


def format_table(codes: BinaryCodes, metadata: CodesMetadata) -> str:
    """Return a table of the three methods of search: size, recall and speed."""
    index = codes.index
    labels = {
        "exact": "exact, by features",
        "codes": "codes alone",
        "reranked": f"codes, {metadata.shortlist:,} re-ranked",
    }
    ks = list(metadata.scores[0].recall) if metadata.scores else []
    heads = "".join(f"{f'recall@{k}':>12}" for k in ks)
    lines = [
        f"{index.path}: {format_count(len(codes), 'image')}, "
        f"{format_count(index.dimensions, 'feature')} each, now with codes "
        f"of {codes.bits} bits ({len(codes) * codes.bits / 8e6:,.1f} MB)",
        f"{'':<26}{'bytes/image':>12}{heads}{'queries/s':>12}{'ms/query':>10}",
    ]
    for score in metadata.scores:
        recalls = "".join(f"{score.recall[k]:>12.3f}" for k in ks)
        lines.append(
            f"{labels[score.method]:<26}{score.bytes_per_image:>12,}{recalls}"
            f"{score.queries_per_second:>12,.0f}{score.milliseconds:>10.2f}"
        )
    lines.append(
        f"Measured with {format_count(metadata.queries, 'image')} that the autoencoder was "
        "not trained on: "
        "queries/s in one batch, ms/query one at a time."
    )
    return "\n".join(lines)
