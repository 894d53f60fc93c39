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
    from alexnet.importing.run import import_weights
    from alexnet.interactive import train
    from alexnet.nets import NETS
    from alexnet.packing.pack import pack_images as pack
    from alexnet.packs.pack import Pack, open_pack
    from alexnet.predict import Classifier, Prediction, load, load_weights
    from alexnet.recipes.named import RECIPES
    from alexnet.recipes.recipe import Recipe
    from alexnet.search.autoencoder import EncoderOptions
    from alexnet.search.build import build_index
    from alexnet.search.code_files import open_codes
    from alexnet.search.code_training import train_codes
    from alexnet.search.codes import BinaryCodes
    from alexnet.search.exact import ExactSearch
    from alexnet.search.index import FeatureIndex, open_index
    from alexnet.search.similar import find_similar, open_search
    from alexnet.serving.app import make_app
    from alexnet.show.figures import draw_figures
    from alexnet.show.report import write_report
    from alexnet.training.transfer import Transfer

_LAZY_IMPORTS = {
    "NETS": ("nets", "NETS"),
    "RECIPES": ("recipes.named", "RECIPES"),
    "BinaryCodes": ("search.codes", "BinaryCodes"),
    "Classifier": ("predict", "Classifier"),
    "EncoderOptions": ("search.autoencoder", "EncoderOptions"),
    "ExactSearch": ("search.exact", "ExactSearch"),
    "FeatureIndex": ("search.index", "FeatureIndex"),
    "Pack": ("packs.pack", "Pack"),
    "Prediction": ("predict", "Prediction"),
    "Recipe": ("recipes.recipe", "Recipe"),
    "Transfer": ("training.transfer", "Transfer"),
    "build_index": ("search.build", "build_index"),
    "draw_figures": ("show.figures", "draw_figures"),
    "evaluate": ("evaluation.scores", "evaluate_run"),
    "export": ("exporting.export", "export"),
    "find_similar": ("search.similar", "find_similar"),
    "import_weights": ("importing.run", "import_weights"),
    "load": ("predict", "load"),
    "load_weights": ("predict", "load_weights"),
    "make_app": ("serving.app", "make_app"),
    "open_codes": ("search.code_files", "open_codes"),
    "open_index": ("search.index", "open_index"),
    "open_pack": ("packs.pack", "open_pack"),
    "open_search": ("search.similar", "open_search"),
    "pack": ("packing.pack", "pack_images"),
    "train": ("interactive", "train"),
    "train_codes": ("search.code_training", "train_codes"),
    "write_report": ("show.report", "write_report"),
}
"""Where each public name is defined: (module, name in that module)."""

__all__ = [
    "NETS",
    "RECIPES",
    "BinaryCodes",
    "Classifier",
    "EncoderOptions",
    "ExactSearch",
    "FeatureIndex",
    "Pack",
    "Prediction",
    "Recipe",
    "Transfer",
    "__version__",
    "build_index",
    "draw_figures",
    "evaluate",
    "export",
    "find_similar",
    "import_weights",
    "load",
    "load_weights",
    "make_app",
    "open_codes",
    "open_index",
    "open_pack",
    "open_search",
    "pack",
    "train",
    "train_codes",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    module, attribute = _LAZY_IMPORTS[name]
    return getattr(import_module(f"alexnet.{module}"), attribute)


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted(__all__)
