"""One file a command: its options as a dataclass, and `run`, which returns the exit status.

Nothing heavy is imported before `run`, so that help and usage errors answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alexnet.commands.claims import Claims
from alexnet.commands.demo import Demo
from alexnet.commands.evaluate import Evaluate
from alexnet.commands.export import Export
from alexnet.commands.networks import Networks
from alexnet.commands.pack import PackCommand
from alexnet.commands.predict import Predict
from alexnet.commands.train import Train

COMMANDS: dict[str, Callable[..., Any]] = {
    "pack": PackCommand,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    "networks": Networks,
    "claims": Claims,
    "demo": Demo,
}
