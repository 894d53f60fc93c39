"""`alexnet evaluate`: the errors of a trained network, or of the average of several.

The command parses its arguments here and prints scores; `alexnet.evaluation` does the rest.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from alexnet.evaluation.predictions import SplitPredictions
    from alexnet.evaluation.scores import Scores
    from alexnet.processes import World


@dataclass(frozen=True)
class Evaluate:
    """Measure top-1 and top-5 error over every image of a split; the probabilities of several runs
    are averaged first (an ensemble)."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders (the best checkpoint of each, else the last) or checkpoint files, optionally
    followed by a pack, or by anything that `alexnet pack` reads, which is packed first. Default:
    the pack that the first run was trained on."""
    split: str = "val"
    """Which images to measure on: val, train or test. Images without splits, such as one folder per
    class, are all measured."""
    views: Literal[1, 5, 10] = 1
    """1: the center crop; 10: the four corners and the center and their mirror images, averaged
    (section 4.1); 5: the same without mirror images, for images such as digits and text."""
    dumps: tuple[Path, ...] = ()
    """Files written by --dump, to average with the runs or without any run."""
    weights: tuple[float, ...] = ()
    """Weights of the runs, then of the files of --dumps. By default all are equal."""
    search: bool = False
    """Search for the ensemble weights with the fewest errors on these images. The result is
    optimistic: evaluate the weights on other images, with --weights."""
    dump: Path | None = None
    """Write the probabilities to this .npz file, which --dumps reads."""
    submission: Path | None = None
    """Write a submission to the ILSVRC challenge: a text file with five class numbers per image."""
    devkit: Path | None = None
    """The folder with the ILSVRC development kit, whose class numbers --submission needs. By
    default the one that the images were packed from."""
    per_class: bool = False
    """Print errors, precision, recall and F1 of every class, too, and the most frequent mistakes.
    They are in the file of scores in any case."""
    ignore_unknown: bool = False
    """Leave out images of classes that the network was not trained on."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    out: Path | None = None
    """Where to write the scores. By default into the run's folder if there is one run: scores.json
    for the center view of val of its own pack, else a file named after what was measured, such as
    scores-val-10-views.json."""
    json: bool = False
    """Print the scores as JSON instead of a table."""

    def run(self) -> int:
        """Join the other processes, if torchrun has started several, and measure with them."""
        runs, pack = self.split_arguments()
        from alexnet.processes import join

        with join() as world:
            return self.measure(runs, pack, world)

    def measure(self, runs: tuple[Path, ...], pack: Path | None, world: World) -> int:
        """Measure, write the requested files and print the scores; return the exit status.

        Of several processes, the first writes and prints.
        """
        alone = len(runs) == 1 and not self.dumps
        if alone and not (self.dump or self.submission):
            from alexnet.evaluation.scores import evaluate_run

            images = self.choose_pack_together(runs[0], pack, world)
            scores = evaluate_run(runs[0], images, **self.measure_options(), world=world)
            return self.report(scores, runs[0]) if world.rank == 0 else 0
        predictions = self.average(runs, pack, world)
        if predictions is None:
            return 0
        if self.dump:
            predictions.write(self.dump)
        if self.submission:
            from alexnet.evaluation.submission import write_submission

            print(write_submission(predictions, self.submission, self.devkit), file=sys.stderr)
        if not predictions.labeled and (self.dump or self.submission):
            return 0  # images without labels have no errors; their predictions are written
        return self.report(predictions.scores(), runs[0] if alone else None)

    def split_arguments(self) -> tuple[tuple[Path, ...], Path | None]:
        """Split the positional arguments into runs and the pack or the images, if named.

        Raises ValueError if nothing is named, FileNotFoundError if the images do not exist.
        """
        from alexnet.commands.refusals import refuse_reversed
        from alexnet.evaluation.measured_pack import is_run
        from alexnet.sources.digits import NAME

        if self.runs:
            refuse_reversed("evaluate", self.runs[0], self.runs[1:])
        runs, images = self.runs, None
        if runs and ((runs[-1] / "pack.json").is_file() or (runs[1:] and not is_run(runs[-1]))):
            runs, images = runs[:-1], runs[-1]
        if not runs and not self.dumps:
            raise ValueError(
                "nothing to measure: name a run, or files of predictions with --dumps FILE"
            )
        if images and not images.exists() and str(images) != NAME:
            raise FileNotFoundError(f"{images} does not exist: name a run, a pack, or images")
        n_weights, n_networks = len(self.weights), len(runs) + len(self.dumps)
        if n_weights not in (0, n_networks):
            raise ValueError(
                f"--weights has {n_weights} numbers, and there are {n_networks} runs and files of "
                "--dumps: give one for each"
            )
        return runs, images

    def choose_pack_together(self, run: Path, images: Path | None, world: World) -> Path | None:
        """Return what `choose_pack` does, which the first process calls: it may have to pack."""
        path = self.choose_pack(run, images) if world.rank == 0 else None
        chosen = world.broadcast(None if path is None else str(path))
        return None if chosen is None else Path(chosen)

    def choose_pack(self, run: Path, images: Path | None) -> Path | None:
        """Return the pack to measure a run on; None for the pack that it was trained on.

        Images that are not a pack are packed first, with a progress bar.
        """
        if images is None or (images / "pack.json").is_file():
            return images
        from alexnet.commands.pack import pack_next_to_run_with_bar
        from alexnet.device import choose_device
        from alexnet.evaluation.measured_pack import ensure_pack, load_run, open_training_pack

        choose_device(self.device)  # refuses one that is not there before anything is packed
        path, trained = load_run(run)
        if own := open_training_pack(path.parent, images):
            print(f"{run} was trained on {images}: measured as in {own.path}", file=sys.stderr)
        return ensure_pack(
            images,
            path,
            trained,
            self.split,
            pack_next_to_run_with_bar,
            ignore_unknown=self.ignore_unknown,
        ).path

    def measure_options(self) -> dict[str, Any]:
        """Return the options that `evaluate_run` and `predict_split` share, by name."""
        names = "split", "views", "device", "ignore_unknown"
        return {name: getattr(self, name) for name in names}

    def average(
        self, runs: tuple[Path, ...], pack: Path | None, world: World
    ) -> SplitPredictions | None:
        """Return the weighted average of the runs' predictions and of those in files.

        Only the first process averages; None on the others.
        """
        from alexnet.evaluation.ensemble import average_predictions, predict_split, search_weights
        from alexnet.evaluation.predictions import load_predictions

        predictions: list[SplitPredictions] = []
        for run in runs:
            first = predictions[0].pack if predictions else None
            images = self.choose_pack_together(run, pack, world) or first
            options = self.measure_options()
            predictions.append(predict_split(run, images, **options, world=world))
        if world.rank:
            return None
        predictions += map(load_predictions, self.dumps)
        weights = self.weights
        if self.search:
            weights = search_weights(predictions)
            print(
                f"Weights fitted to these images, so the errors below are optimistic: --weights "
                f"{' '.join(f'{w:g}' for w in weights)}",
                file=sys.stderr,
            )
        return average_predictions(predictions, weights)

    def report(self, scores: Scores, run: Path | None) -> int:
        """Print the scores, then write them; return 1 if they could not be written to --out."""
        from alexnet.evaluation.measured_pack import describe_change
        from alexnet.evaluation.scores import choose_scores_path, write_scores

        if change := describe_change(scores.folder, scores.pack, scores.pack_checksum):
            print(change, file=sys.stderr)
        print(json.dumps(scores.to_dict(), indent=2) if self.json else scores.text(self.per_class))
        sys.stdout.flush()
        out = self.out or (choose_scores_path(scores) if run else None)
        try:
            if out:
                write_scores(scores, out)
        except OSError as error:
            print(f"These scores are not in {out}: {error.strerror}", file=sys.stderr)
            return int(self.out is not None)
        return 0
