"""Checks that reject invalid trainings before a folder is made or a weight is drawn.

`training.train` calls these in order; `commands.refusals` calls some before images are packed.
Each raises ValueError saying what was found, what was wanted and what to do. `runs` checks the
folder of the run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from alexnet.batches.preprocessing import Preprocessing
from alexnet.checkpoint import Checkpoint
from alexnet.nets.variations import network_of
from alexnet.packs.pack import Pack
from alexnet.recipes.recipe import Recipe
from alexnet.sources.names import quote_names
from alexnet.training import sgd
from alexnet.training.transfer import Transfer


def check_pack(pack: Pack, recipe: Recipe) -> None:
    """Refuse a pack without training images of two classes, or without what the schedule needs."""
    if not pack.splits.get("train"):  # missing or empty
        raise ValueError(f"{pack.path} holds no training images; it has {', '.join(pack.splits)}")
    trained = np.unique(pack.splits["train"].labels)
    if len(trained) < 2:
        raise ValueError(
            f"the training images of {pack.path} are all of one class, "
            f"{quote_names(pack.classes[label] for label in trained)}: a classifier needs at least "
            "two. Pack images of two classes or more, each in a separate folder"
        )
    check_validation(recipe, pack.path, has_validation=bool(pack.splits.get("val")))


def check_validation(recipe: Recipe, images: Path, *, has_validation: bool) -> None:
    """Refuse a schedule that needs validation images where there are none."""
    if recipe.schedule == "plateau" and recipe.drops and not has_validation:
        raise ValueError(
            f"{images} has no validation images, and the schedule `plateau` lowers the rate "
            "when their error stops improving. Choose --schedule cosine, or pack with "
            "--val-fraction 0.1"
        )


def check_layers(recipe: Recipe, classes: Sequence[str], init: Transfer | None) -> None:
    """Refuse layers that the network does not have, and weights that do not fit it.

    Builds the network on the meta device, and copies the layers of `init` there, which does nothing
    but compare their names and shapes.
    """
    with torch.device("meta"):
        network = network_of(recipe, len(classes))
    sgd.check_layers(network, recipe)
    if init is not None:
        with warnings.catch_warnings():  # torch warns that copying to the meta device does nothing
            warnings.simplefilter("ignore", UserWarning)
            init.into(network, recipe, classes)


def check_network(pack: Pack, recipe: Recipe) -> None:
    """Refuse a network that cannot be built, or that images of this size cannot be fed to.

    It is built on the meta device, which takes neither time nor memory.
    """
    Preprocessing.of(pack, recipe)
    with torch.device("meta"):
        network_of(recipe, len(pack.classes))


def check_resumable(start: Checkpoint, pack: Pack, recipe: Recipe) -> None:
    """Refuse to resume from a checkpoint with another pack or another recipe.

    Only `recipe.epochs` may differ from the checkpoint's recipe.
    """
    if not start.momenta:
        raise ValueError(
            "imported weights have no training to go on with. Begin a new one with them: --init in "
            "place of --resume, and another folder for the run"
        )
    if start.pack_checksum != pack.checksum:
        raise ValueError(
            f"the checkpoint was trained on another pack, or on an earlier version of this one "
            f"(checksum {start.pack_checksum[:12]}…) than {pack.path} is now "
            f"({pack.checksum[:12]}…): if images have changed, a training cannot go on where it "
            "was. Begin a new one with its weights (--init RUN, in place of --resume, and another "
            "folder), or name the pack that it was trained on"
        )
    check_same_recipe(recipe, start.recipe)


def check_same_recipe(recipe: Recipe, before: Recipe) -> None:
    """Refuse to resume with another recipe than before; only `epochs` may differ."""
    changed = recipe.differences(before)
    if set(changed) - {"epochs"}:
        lines = [f"{name} {was} → {now}" for name, (now, was) in changed.items()]
        raise ValueError(
            f"a resumed training keeps its recipe, but these fields differ: {'; '.join(lines)}. "
            "Only --epochs may change"
        )
