"""`train`, the function that trains a network: its checks, its start or resumption, its end.

Called by `commands.train`, by `claims.trainings`, and as `alexnet.train`. The steps themselves are
in `training.loop`.

A run's folder holds `recipe.json`, `environment.json`, `log.jsonl`, `last.safetensors`,
`best.safetensors` and `samples.safetensors` (some images, to try the network without the pack).
A training that was killed at any moment and is resumed from `last` ends with the same bits, on the
same device, as one that never stopped. One that was killed before its first `last` begins again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.checkpoint import Checkpoint
from alexnet.device import Precision, Residence
from alexnet.nets.variations import network_of
from alexnet.packs.pack import Pack
from alexnet.processes import ALONE
from alexnet.recipes.named import SMALLEST_PHOTOGRAPH
from alexnet.recipes.recipe import Recipe
from alexnet.training.division import Division, make_division
from alexnet.training.interrupt import Interrupt
from alexnet.training.job import TrainingJob, TrainingOutcome
from alexnet.training.log import SafeScreen, Screen
from alexnet.training.loop import Training
from alexnet.training.messages import explain_out_of_memory, format_finished, is_out_of_memory
from alexnet.training.refusals import check_network, check_pack, check_resumable
from alexnet.training.saving import mend_best
from alexnet.training.transfer import Transfer, first_init


def train(
    pack: Pack,
    run: str | Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    resident: Residence = "auto",
    compiled: bool = False,
    resume: str | Path | None = None,
    init: Transfer | str | Path | None = None,
    save_minutes: float = 10.0,
    log_seconds: float = 10.0,
    screen: Screen | None = None,
    division: Division | None = None,
) -> TrainingOutcome:
    """Train a network on the `train` images of a pack, evaluating it on `val` after every epoch.

    Parameters
    ----------
    pack
        The packed images. Without a `val` split nothing is evaluated.
    run
        Folder to write the run to. It is created if it does not exist, and removed again if the
        training fails before its first step.
    recipe
        The network and all hyper-parameters.
    device
        "auto" (a GPU if there is one), "cpu", "cuda", or "cuda:1" for the second GPU.
    precision
        Of matrix products and convolutions: "float32", "tf32", "bf16", or "auto" (bf16 on a GPU
        that has it, else float32). The weights are always float32.
    resident
        Whether to hold the training images in the memory of the GPU: "yes", "no", or "auto" (if
        they fit).
    compiled
        Whether to prepare the step with torch.compile, which takes about a minute.
    resume
        A checkpoint file to resume from, or the folder of a run, from whose `last` checkpoint the
        training resumes. Only `recipe.epochs` may differ from its recipe. If the run has no
        checkpoint yet, training begins from the start. If all its epochs are done nothing is
        trained, but a `best.safetensors` that a kill has left out of date is replaced.
    init
        A trained run or a checkpoint file whose weights the new training begins with, or a
        Transfer that names the layers to take.
    save_minutes
        Minutes between two checkpoints within an epoch. One is always saved after every epoch.
    log_seconds
        Seconds between two reports to the log and the screen.
    screen
        Receives progress and messages. A failure to write to the screen or the log does not end
        the training.
    division
        How the training is divided among processes (`training.division`). All processes call this
        function with the same arguments; the first writes the run. By default, one process.

    Returns
    -------
    TrainingOutcome
        The folder; the position reached, with the loss and the errors of every epoch; the signal
        that stopped the training, if one did; and whether the position was saved. SIGINT, SIGTERM
        and SIGHUP stop it after the current step.

    Raises
    ------
    FileExistsError
        `run` holds another training, or something that is not a run.
    FileNotFoundError
        There is no checkpoint at `resume` or `init`.
    BlockingIOError
        Another process is training in `run`.
    ValueError
        Pack, recipe and checkpoint do not fit each other, or the device or precision is not
        available, or a file of the pack turned out to be damaged during the training (a checkpoint
        is saved first).
    alexnet.training.loop.Diverged
        The loss became infinite or NaN.
    MemoryError
        A step does not fit into the memory.
    OSError
        The folder cannot be written.
    """
    division = division or make_division(None, ALONE, recipe)
    run, screen = Path(run), SafeScreen((division.is_first and screen) or Screen())
    if division.is_first:
        runs.check_folder(run, Path(pack.source["path"]))
    machine = devices.set_up_machine(device, precision, resident, compiled)
    if recipe.crop >= SMALLEST_PHOTOGRAPH and (hint := devices.suggest_bf16(machine)):
        screen.say(hint)
    check_pack(pack, recipe)
    check_network(pack, recipe)
    with torch.device("meta"):
        division.divide(network_of(recipe, len(pack.classes)))
    if hint := devices.explain_unrepeatable(machine):
        screen.say(hint)
    path = None if resume is None else runs.find_checkpoint_to_resume(resume)
    start = None if path is None else checkpoints.load(path)
    if division.is_first and (path is None or path.parent.resolve() != run.resolve()):
        runs.check_free(run)
    if path is not None and start is not None:
        check_resumable(start, pack, recipe)
        if hint := devices.explain_changes(runs.read_environment(path.parent), machine):
            screen.warn(hint)
        if start.position.epoch >= recipe.epochs:
            return _finish(run, path, start, screen, division)
    elif resume is not None:
        screen.say(f"{resume} has no checkpoint yet: training begins from the start.")
        init = init or first_init(run)
    if init is not None and not isinstance(init, Transfer):
        init = Transfer(Path(init))
    job = TrainingJob(pack, run, recipe, machine, start, init, save_minutes * 60, log_seconds)
    job = replace(job, division=division)
    division.world.barrier()  # the folder is still as all of them have found it
    return _run(job, screen)


def _run(job: TrainingJob, screen: Screen) -> TrainingOutcome:
    """Lock the folder and train in it, until the last epoch is done or a signal comes."""
    is_first = job.division.is_first
    make_folder = runs.RunFolder if is_first else runs.ForeignFolder
    with make_folder(job.run) as folder, Interrupt() as interrupt:
        if job.start is None and is_first:
            runs.check_free(job.run)  # again, now that no other process can begin one here
        training = Training(job, interrupt, screen)
        if job.init is not None and job.start is None:
            training.copy_layers(job.init)
        training.background_check.start()
        try:
            outcome = training.run_epochs()
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                message = explain_out_of_memory(error, job.recipe, job.machine)
                raise MemoryError(message) from error
            raise
        finally:
            training.background_check.stop()
            folder.used = job.start is not None or training.meter.steps > 0
    return replace(outcome, signal=outcome.signal or interrupt.signal)


def _finish(
    run: Path, path: Path, start: Checkpoint, screen: Screen, division: Division
) -> TrainingOutcome:
    """The outcome of a training that has all its epochs: `best` is mended, nothing is trained."""
    saved = not division.is_first or mend_best(run, path, start.position, screen)
    screen.say(format_finished(start.position, len(start.classes)))
    return TrainingOutcome(run, start.position, None, saved)
