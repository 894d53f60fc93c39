"""`torchrun … -m alexnet evaluate`: the same scores and files from any number of processes."""

import json

import numpy as np
import pytest
import torch
from tests.parallel.worlds import run_in_processes, run_with_one_thread

from alexnet.commands.evaluate import Evaluate
from alexnet.evaluation.ensemble import gather_rows
from alexnet.evaluation.predictions import load_predictions
from alexnet.processes import ALONE, World


def measure(world, run, folder, options):
    """Measure a run as the command does; return the exit status."""
    dump = folder / "dump.npz" if options.pop("dump", False) else None
    command = Evaluate((run,), out=folder / "scores.json", dump=dump, json=True, **options)
    return command.measure((run,), None, world)


@pytest.mark.parametrize(
    ("size", "options", "seen"),
    [(4, {"views": 10, "split": "train"}, 150), (2, {"dump": True}, 60)],
)
def test_scores_and_predictions_have_the_same_bits_on_several_processes(
    size, options, seen, run, tmp_path
):
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    several.mkdir()
    run_with_one_thread(measure, ALONE, run, one, dict(options))
    assert run_in_processes(size, measure, tmp_path, run, several, options) == [0] * size
    scores, others = (json.loads((at / "scores.json").read_text()) for at in (one, several))
    assert scores["seen"] == seen
    assert others == scores
    if "dump" in options:
        first, second = (load_predictions(at / "dump.npz") for at in (one, several))
        assert np.array_equal(first.probabilities, second.probabilities)


class Uneven(World):
    """Two processes: this one has three rows, the other one has one."""

    def gather(self, value):
        return [value, 1]

    def all_gather(self, tensor):
        return [tensor, tensor + 10]


def test_rows_of_processes_that_have_different_numbers_of_them_are_joined():
    own = torch.arange(3.0)[:, None]
    assert gather_rows(own, Uneven(size=2)).flatten().tolist() == [0, 1, 2, 10]
