"""`alexnet evaluate`: the errors of a trained network, or of several together."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.evaluation.ensemble import Predictions
    from alexnet.evaluation.scores import Scores


@dataclass(frozen=True)
class Evaluate:
    """Measure top-1 and top-5 error over every image of a split; of several runs, averaged."""

    runs: Positional[tuple[Path, ...]] = ()
    """Folders of runs (of each its best checkpoint, else its last) or checkpoint files, and then
    a pack, by default the one that the first run was trained on, or whatever `alexnet pack` reads,
    which is packed first as the network wants it."""
    split: str = "val"
    """Which images. Where there are no splits, as in a folder of classes, it is all of them."""
    views: Literal[1, 5, 10] = 1
    """1: the center; 10: corners and center and their mirror images, averaged (section 4.1); 5: the
    same without mirror images, for what has a right way round."""
    dumps: tuple[Path, ...] = ()
    """Files of --dump to average with the runs, or alone."""
    weights: tuple[float, ...] = ()
    """Of the runs, then of the files; by default all weigh the same."""
    search: bool = False
    """Find weights with fewer errors on these images. Measure them on others: --weights."""
    dump: Path | None = None
    """Write the probabilities to this .npz file."""
    submission: Path | None = None
    """Write the text of a submission to the challenge: five numbers of classes a line."""
    devkit: Path | None = None
    """The folder with ILSVRC's development kit, which has the numbers that --submission wants. By
    default the one that the images were packed from."""
    per_class: bool = False
    """Print the errors of every class."""
    ignore_unknown: bool = False
    """Leave out images of classes that the network was not trained on."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    out: Path | None = None
    """Where the scores are written. By default in the folder of a single run: scores.json for the
    center view of val of its own pack, else a file named after what was measured, as
    scores-val-10-views.json."""
    json: bool = False
    """Print the scores as JSON instead of a table."""

    def run(self) -> int:
        """Measure, write what was asked for, print the scores."""
        runs, pack = self.runs_and_pack()
        alone = len(runs) == 1 and not self.dumps
        if alone and not (self.dump or self.submission):
            from alexnet.evaluation.scores import measure

            images = self.pack_for(runs[0], pack)
            return self.report(measure(runs[0], images, **self.how()), runs[0])
        together = self.together(runs, pack)
        if self.dump:
            together.write(self.dump)
        if self.submission:
            from alexnet.evaluation.submission import write

            print(write(together, self.submission, self.devkit), file=sys.stderr)
        if not together.labeled and (self.dump or self.submission):
            return 0  # what can be had of images without labels is written
        return self.report(together.scores(), runs[0] if alone else None)

    def runs_and_pack(self) -> tuple[tuple[Path, ...], Path | None]:
        """The positional arguments: runs, and what is to be measured if it is named.

        Raises ValueError if there is nothing to measure, FileNotFoundError for what is not there.
        """
        from alexnet.evaluation.images import is_run
        from alexnet.sources.digits import NAME

        runs, images = self.runs, None
        if runs and ((runs[-1] / "pack.json").is_file() or (runs[1:] and not is_run(runs[-1]))):
            runs, images = runs[:-1], runs[-1]
        if not runs and not self.dumps:
            raise ValueError("nothing to measure: name a run, or files of predictions, --dumps")
        if images and not images.exists() and str(images) != NAME:
            raise FileNotFoundError(f"there is nothing at {images}: no run, no pack and no images")
        return runs, images

    def pack_for(self, run: Path, images: Path | None) -> Path | None:
        """The pack of the images for a run, made if need be; None for that of its training."""
        if images is None or (images / "pack.json").is_file():
            return images
        from alexnet.commands.pack import pack_next_to_run_with_bar
        from alexnet.evaluation.images import load_trained, pack_for, trained_on

        path, trained = load_trained(run)
        if own := trained_on(path.parent, images):
            print(f"{run} was trained on {images}: measured as in {own.path}", file=sys.stderr)
            return own.path
        return pack_for(images, path, trained, self.split, pack_next_to_run_with_bar).path

    def how(self) -> dict[str, Any]:
        """The options that say how a run is measured."""
        names = "split", "views", "device", "ignore_unknown"
        return {name: getattr(self, name) for name in names}

    def together(self, runs: tuple[Path, ...], pack: Path | None) -> Predictions:
        """The weighted mean of all predictions."""
        from alexnet.evaluation.ensemble import average, predict, read, search

        some: list[Predictions] = []
        for run in runs:
            images = self.pack_for(run, pack) or (some[0].pack if some else None)
            some.append(predict(run, images, **self.how()))
        some += map(read, self.dumps)
        weights = self.weights
        if self.search:
            weights = search(some)
            print(
                f"Weights found on these images, whose errors flatter them: --weights "
                f"{' '.join(f'{w:g}' for w in weights)}",
                file=sys.stderr,
            )
        return average(some, weights)

    def report(self, scores: Scores, run: Path | None) -> int:
        """Print the scores, then write them; 1 if they could not be written where --out says."""
        from alexnet.evaluation.scores import default_path, write

        print(json.dumps(scores.to_dict(), indent=2) if self.json else scores.text(self.per_class))
        sys.stdout.flush()
        out = self.out or (default_path(scores) if run else None)
        try:
            if out:
                write(scores, out)
        except OSError as error:
            print(f"These scores are not in {out}: {error.strerror}", file=sys.stderr)
            return int(self.out is not None)
        return 0
