"""`alexnet demo`: the whole flow on data that every installation has."""

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

SHOWN = 18


@dataclass(frozen=True)
class Demo:
    """Pack, train, evaluate and predict on scikit-learn's digits, in about a minute."""

    folder: Positional[Path] = Path("demo")
    """Where everything is put. A demo's earlier run in it is replaced."""

    def run(self) -> int:
        """The main job, step by step, each with the command that does it alone."""
        from alexnet.commands.evaluate import Evaluate
        from alexnet.commands.pack import pack_with_bar
        from alexnet.commands.train import Train
        from alexnet.predict import load

        began, run = time.monotonic(), self.folder / "run"
        step(f"alexnet pack digits {self.folder / 'digits'}")
        pack = pack_with_bar("digits", self.folder / "digits")
        shutil.rmtree(run, ignore_errors=True)
        step(f"alexnet train {pack.path} {run} --recipe digits")
        if status := Train(str(pack.path), run, recipe="digits").run():
            return status
        for views in (1, 5):
            step(f"alexnet evaluate {run} --views {views}")
            Evaluate((run,), views=views).run()
        picture = self.folder / "predictions.png"
        draw(load(run), pack, picture)
        print(f"\nImages with their five labels: {picture}")
        print(f"All of it took {time.monotonic() - began:.0f} s.")
        return 0


def step(command: str) -> None:
    """Show the command that does what comes next."""
    sys.stdout.flush()
    print(f"\n$ {command}", file=sys.stderr, flush=True)


def draw(classifier: Classifier, pack: Pack, path: Path) -> None:
    """Validation images with their labels, those that the network is least sure of first."""
    from alexnet.predict import Prediction
    from alexnet.show.figures import predictions

    split = pack.splits["val"]
    records = split.gather(range(len(split)))
    guesses = classifier.predict(list(records))
    assert isinstance(guesses, list)
    unsure = sorted(range(len(guesses)), key=lambda i: guesses[i].probabilities[0])[:SHOWN]
    shown: list[tuple[object, Prediction]] = [(records[i], guesses[i]) for i in unsure]
    predictions(shown, path, truths=[pack.classes[split.labels[i]] for i in unsure])
