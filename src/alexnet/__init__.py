"""Train image classifiers on labeled images, evaluate them and use them, with PyTorch.

The system of Krizhevsky, Sutskever & Hinton (2012), known as AlexNet:

    import alexnet

    pack = alexnet.pack("photos", "photos.pack")
    alexnet.train(pack, "runs/photos", alexnet.RECIPES["small"])
    print(alexnet.evaluate("runs/photos", views=10).text())
    classifier = alexnet.load("runs/photos")
    print(classifier.predict("cat.jpg").labels)

Importing this package is fast: names that need torch are imported when they are first used.

The import sets two environment variables, for this process and its children, unless they are set
already. With `MKL_CBWR=AUTO,STRICT` and `CUBLAS_WORKSPACE_CONFIG=:4096:8`, MKL and cuBLAS give
bitwise equal matrix products in every run, independent of the memory addresses of the operands.
Both libraries read their variable at their first call. If MKL was called before this import, the
setting has no effect, and trainings print a warning.
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
    from alexnet.recipes.named import RECIPES
    from alexnet.recipes.recipe import Recipe
    from alexnet.training.train import train
    from alexnet.training.transfer import Transfer

_LAZY_IMPORTS = {
    "NETS": ("nets", "NETS"),
    "RECIPES": ("recipes.named", "RECIPES"),
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
"""Where each public name is defined: (module, name in that module)."""

__all__ = ["NETS", "RECIPES", "Classifier", "Pack", "Prediction", "Recipe", "Transfer"]
__all__ += ["__version__", "evaluate", "export", "load", "open_pack", "pack", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    module, attribute = _LAZY_IMPORTS[name]
    return getattr(import_module(f"alexnet.{module}"), attribute)


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted(__all__)
