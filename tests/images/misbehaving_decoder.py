"""A decoding process whose decoder does what the image's bytes tell it to."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from alexnet.images import decoder_program, preparation
from alexnet.images.decoding import decode


def obey(content, **options):
    """Crash, hang, or decode."""
    if content == b"crash":
        os.abort()
    if content == b"hang":
        time.sleep(60)
    if content == b"greedy":
        bytearray(4 << 30)
    if content.startswith(b"once "):
        trace, content = content[5:].split(b"\0", 1)
        die_unless(Path(os.fsdecode(trace)))
    return decode(content, **options)


def die_unless(trace):
    """End like a process that was out of memory, but only the first time."""
    if not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    preparation.decode = obey
    decoder_program.serve(Connection(int(sys.argv[1])), *map(int, sys.argv[2:]))
