"""A saved training as one safetensors file with everything needed to use or to resume it.

`state` describes a training at one moment, `file` writes and reads it, `metadata` is the JSON in
the file, `checks` finds what is damaged or does not fit. Used by everything that trains, measures,
predicts or exports. It must not import any of those: no loop, no evaluation, no command.
"""

from alexnet.checkpoint.file import (
    find,
    link_or_copy,
    load,
    load_metadata,
    load_recipe,
    save,
    to_path,
)
from alexnet.checkpoint.metadata import Metadata
from alexnet.checkpoint.state import Checkpoint, Position

__all__ = ["Checkpoint", "Metadata", "Position", "find", "link_or_copy"]
__all__ += ["load", "load_metadata", "load_recipe", "save", "to_path"]
