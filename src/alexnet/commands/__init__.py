"""The commands of `alexnet`, one file each: a dataclass of its options, named after the command.

Its field docstrings are the help texts, its method `run` does the work and returns the exit status.
A new command is a file like these and a line in `COMMANDS`. `cli.main` parses the command line into
one of these classes. torch and other slow libraries are imported only inside `run`, so that help
and usage errors appear at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alexnet.commands.claims import Claims
from alexnet.commands.codes import Codes
from alexnet.commands.demo import Demo
from alexnet.commands.evaluate import Evaluate
from alexnet.commands.export import Export
from alexnet.commands.features import Features
from alexnet.commands.figures import Figures
from alexnet.commands.import_weights import Import
from alexnet.commands.networks import Networks
from alexnet.commands.pack import PackCommand
from alexnet.commands.predict import Predict
from alexnet.commands.report import Report
from alexnet.commands.serve import Serve
from alexnet.commands.similar import Similar
from alexnet.commands.train import Train

COMMANDS: dict[str, Callable[..., Any]] = {
    "pack": PackCommand,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "report": Report,
    "figures": Figures,
    "features": Features,
    "similar": Similar,
    "export": Export,
    "serve": Serve,
    "import": Import,
    "networks": Networks,
    "codes": Codes,
    "claims": Claims,
    "demo": Demo,
}
"""Every command by its name, in the order of `alexnet --help`."""
