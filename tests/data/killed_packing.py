"""Packs pixels and is killed, once or twice, at each moment at which it touches the disk.

Prints how many such moments there are. A process of its own, because it forks.
"""

import itertools
import os
import signal
import sys
from pathlib import Path

from tests.data.packing_sources import arrays, contents

from alexnet.data.pack import pack


def kill_at(event: int) -> None:
    """SIGKILL this process when it is about to touch the disk for the so many-th time."""
    left = [event]

    def counted(act):
        def instead(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **options)

        return instead

    os.fsync = counted(lambda _: None)  # the disk survives a killed process
    os.replace, Path.unlink = counted(os.replace), counted(Path.unlink)


def packed(out: Path, event: int | None = None) -> bool:
    """Pack in another process, which is killed at an event if one is given; whether it was not."""
    child = os.fork()
    if child == 0:
        if event is not None:
            kill_at(event)
        pack(arrays(6), out, shard_images=4)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path) -> None:
    whole = folder / "whole"
    pack(arrays(6), whole, shard_images=4)  # not forked: what it compiles, its children have
    for event in itertools.count(1):
        out = folder / f"killed at {event}"
        if packed(out, event):
            sys.stdout.write(f"{event - 1}\n")
            return
        if event % 2:
            packed(out, event)
        packed(out)
        if contents(out) != contents(whole):
            sys.exit(f"killed at event {event}, the pack differs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
