"""Labeled images in, a trained and measured classifier out (Krizhevsky et al., 2012).

    import alexnet

    pack = alexnet.pack("photos", "photos.pack")
    alexnet.train(pack, "runs/photos", alexnet.RECIPES["small"])
    print(alexnet.evaluate("runs/photos", views=10).text())
    classifier = alexnet.load("runs/photos")
    print(classifier.predict("cat.jpg").labels)

Importing this package is quick: what needs torch is imported when it is first used. It sets two
environment variables, for this process and those it starts, unless they are set already: with
`MKL_CBWR=AUTO,STRICT` and `CUBLAS_WORKSPACE_CONFIG=:4096:8` the libraries that multiply matrices
for torch give the same bits every time, wherever their operands lie. They read them at their first
call; MKL's may come before this import, and then a training says so.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

if TYPE_CHECKING:
    from alexnet.evaluation.scores import evaluate_run as evaluate
    from alexnet.exporting.export import export
    from alexnet.nets import NETS
    from alexnet.packing.pack import pack_images as pack
    from alexnet.packs.pack import Pack, open_pack
    from alexnet.predict import Classifier, Prediction, load
    from alexnet.recipes.recipe import RECIPES, Recipe
    from alexnet.training.train import train
    from alexnet.training.transfer import Transfer

_HOMES = {
    "NETS": ("nets", "NETS"),
    "RECIPES": ("recipes.recipe", "RECIPES"),
    "Classifier": ("predict", "Classifier"),
    "Pack": ("packs.pack", "Pack"),
    "Prediction": ("predict", "Prediction"),
    "Recipe": ("recipes.recipe", "Recipe"),
    "Transfer": ("training.transfer", "Transfer"),
    "export": ("exporting.export", "export"),
    "evaluate": ("evaluation.scores", "evaluate_run"),
    "load": ("predict", "load"),
    "open_pack": ("packs.pack", "open_pack"),
    "pack": ("packing.pack", "pack_images"),
    "train": ("training.train", "train"),
}

__all__ = ["NETS", "RECIPES", "Classifier", "Pack", "Prediction", "Recipe", "Transfer"]
__all__ += ["__version__", "evaluate", "export", "load", "open_pack", "pack", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    module, there = _HOMES[name]
    return getattr(import_module(f"alexnet.{module}"), there)


def __dir__() -> list[str]:
    return sorted(__all__)
