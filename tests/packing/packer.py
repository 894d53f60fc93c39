"""A process that packs with others: `python -m tests.packing.packer MEETING IMAGES PACK ACTION`.

Rank and size come from the environment, as torchrun sets them. ACTION is empty or what is changed:

    kill N     rank N kills itself after a few images
    other N    rank N finds other images
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.packing.packing_sources import files
from tests.watched import gather

from alexnet.packing.pack import pack
from alexnet.packing.sharing import share


@dataclass
class Processes:
    """What `processes.World` is to a packing, with a folder for a meeting point."""

    meeting: Path
    rank: int
    size: int
    address: str = "localhost"

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks."""
        return gather(self.meeting, self.rank, self.size, value)


def main() -> None:
    """Pack, as one rank of several."""
    meeting, images, out, action = sys.argv[1:]
    world = Processes(Path(meeting), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    source = files(Path(images), 200, 100)
    if action == f"other {world.rank}":
        source = files(Path(images) / "other", 200, 99)
    if action == f"kill {world.rank}":
        entries = list(source.entries("train"))

        def stream(split: str) -> Any:
            yield from entries[:150]
            os.kill(os.getpid(), signal.SIGKILL)

        object.__setattr__(source, "stream", stream)
    make = partial(pack, source, out, size=8, shard_images=20, processes=1)
    share(world, lambda: source, 1, lambda helpers: make(helpers=helpers))


if __name__ == "__main__":
    main()
