"""`alexnet evaluate`: the errors of a trained network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Evaluate:
    """Measure top-1 and top-5 error over every image of a split."""

    run_folder: Positional[Path]
    """A run's folder (its best checkpoint, else its last) or a checkpoint file."""
    pack: Positional[Path | None] = None
    """By default the pack that the run was trained on."""
    split: str = "val"
    """Which images."""
    views: Literal[1, 5, 10] = 1
    """1: the center; 10: corners and center and their mirror images, averaged (section 4.1); 5: the
    same without mirror images, for what has a right way round."""
    per_class: bool = False
    """Print the errors of every class."""
    ignore_unknown: bool = False
    """Leave out images of classes that the network was not trained on."""
    device: str = "auto"
    """auto, cpu or cuda."""
    out: Path | None = None
    """Where the scores are written. By default scores.json in the run's folder."""
    json: bool = False
    """Print the scores as JSON instead of a table."""

    def run(self) -> int:
        """Measure, write the scores, print them."""
        from alexnet.measure.scores import measure, write

        scores = measure(
            self.run_folder,
            self.pack,
            split=self.split,
            views=self.views,
            device=self.device,
            ignore_unknown=self.ignore_unknown,
        )
        write(scores, self.out or scores.folder / "scores.json")
        print(json.dumps(scores.to_dict(), indent=2) if self.json else scores.text(self.per_class))
        return 0
