"""`alexnet demo`: pack, train, evaluate and predict, on images that every installation has.

The commands `pack`, `train` and `evaluate` are called as functions. torch is imported only when the
demo runs.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack
    from alexnet.predict import Classifier

N_SHOWN = 18
"""The number of images in the figure."""


@dataclass(frozen=True)
class Demo:
    """Pack, train, evaluate and predict on scikit-learn's handwritten digits, in about a minute."""

    folder: Positional[Path] = Path("demo")
    """Folder for the pack, the run and the figure. The run of an earlier demo in it is deleted."""

    def run(self) -> int:
        """Pack, train and evaluate, printing each step's command first; then draw predictions."""
        from alexnet.commands.evaluate import Evaluate
        from alexnet.commands.pack import pack_with_bar
        from alexnet.commands.train import Train
        from alexnet.predict import load

        start, run = time.monotonic(), self.folder / "run"
        print_command(f"alexnet pack digits {self.folder / 'digits'}")
        pack = pack_with_bar("digits", self.folder / "digits")
        shutil.rmtree(run, ignore_errors=True)
        print_command(f"alexnet train {pack.path} {run} --recipe digits")
        if status := Train(str(pack.path), run, recipe="digits").run():
            return status
        for views in (1, 5):
            print_command(f"alexnet evaluate {run} --views {views}")
            Evaluate((run,), views=views).run()
        figure = self.folder / "predictions.png"
        draw_predictions(load(run), pack, figure)
        print(f"\nImages with their five most probable labels: {figure}")
        print(f"All of it took {time.monotonic() - start:.0f} s.")
        return 0


def print_command(command: str) -> None:
    """Print the command line that does the next step."""
    sys.stdout.flush()
    print(f"\n$ {command}", file=sys.stderr, flush=True)


def draw_predictions(classifier: Classifier, pack: Pack, path: Path) -> None:
    """Draw the validation images with the least certain predictions, and their true labels."""
    from alexnet.show.predictions import draw_predictions as draw
    from alexnet.show.style import save_figure

    split = pack.splits["val"]
    records = split.gather(range(len(split)))
    predicted = classifier.predict(list(records))
    assert isinstance(predicted, list)
    by_certainty = sorted(range(len(predicted)), key=lambda i: predicted[i].probabilities[0])
    least_certain = by_certainty[:N_SHOWN]
    figure = draw(
        records[least_certain],
        [predicted[i] for i in least_certain],
        truths=[pack.classes[split.labels[i]] for i in least_certain],
        columns=6,
        title="Validation images with the least certain predictions",
    )
    save_figure(figure, path)
