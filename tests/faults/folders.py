"""Folders with unusual names, links and pipes."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

from tests.faults.examples import PIECES, Files, image_file
from tests.faults.mutate import TEXTS

NAMES = (
    *(b"train", b"val", b"test", b"cat", b"dog", b"1.png", b"2.jpg", b"\xff\xfe", b"a\nb", b"-x"),
    *(b"\xe9.png", b"pack.json", b"meta.mat", b"x.tar", b"data", b"Train", b".hidden", b"CON"),
    *(b"\x1b[31m", b"train.tar", b"list.csv", b"e\xcc\x81", b"\xc3\xa9", b"x" * 255, b" ", b"~"),
    *(b"data_batch_1.bin", b"test_batch.bin", b"batches.meta.txt", b"n01440764", b"devkit"),
    *(b"train-images-idx3-ubyte", b"train-labels-idx1-ubyte", b"101_ObjectCategories"),
    *(b"LOC_synset_mapping.txt", b"ILSVRC2012_img_val.tar", b"ILSVRC2012_devkit_t12.tar.gz"),
)
TARGETS = ".", "..", "../..", "cat", "../cat", "nowhere", "../train", "/dev/zero", "/dev/tty"
"""Of symbolic links."""
PICTURE = image_file("PNG", side=4)
KINDS = "file", "file", "file", "folder", "folder", "link", "link", "pipe", "empty", "locked"


def make(chance: random.Random) -> Files:
    """What a folder is to hold, as JSON: kind, path (a byte a character) and a link's target."""
    base = list(PIECES) if chance.random() < 0.6 else []
    if chance.random() < 0.3:
        base = [f"{split}/{name}" for split in ("train", "val") for name in PIECES]
    things: list[Any] = [["file", name, ""] for name in base]
    for _ in range(chance.randint(1, 6)):
        where = chance.choice(
            ("", "cat", "dog", "train", "train/cat", "val", *[x[1] for x in things])
        )
        path = "/".join(filter(None, (where, _name(chance))))
        if chance.random() < 0.05:
            path = "/".join([path, *["deep"] * chance.choice((10, 60, 300))])
        target = chance.choice((*TARGETS, path.rsplit("/", 1)[-1]))
        things.append([chance.choice(KINDS), path, target])
    return {"folder.json": json.dumps(things).encode()}


def _name(chance: random.Random) -> str:
    if chance.random() < 0.2:
        text = chance.choice(TEXTS).encode("utf-8", "surrogatepass")[:200]
        return text.replace(b"/", b"_").replace(b"\0", b"_").decode("latin-1") or "x"
    return chance.choice(NAMES).decode("latin-1")


def read(folder: Path, name: str) -> None:
    """The folder that was described, as images to pack and as images to predict."""
    from tests.faults.readers import drain, each

    from alexnet.commands.predict import ImageFinder
    from alexnet.sources import open_source

    things = json.loads((folder / name).read_bytes())
    place = folder / "things"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        for kind, path, target in things:
            _put(place, kind, path.encode("latin-1"), target)
        each(lambda: drain(open_source(place)), lambda: list(ImageFinder().find([place])))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _put(place: Path, kind: str, path: bytes, target: str) -> None:
    """Make one thing; what cannot be, because of another thing, is left out."""
    at = os.path.join(os.fsencode(place), path)
    try:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        if kind == "folder":
            os.makedirs(at, exist_ok=True)
        elif kind == "link":
            os.symlink(target, at)
        elif kind == "pipe":
            os.mkfifo(at)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK  # a pipe that is there is left alone
            with open(at, "wb", opener=lambda path, _: os.open(path, flags)) as file:
                file.write(b"" if kind == "empty" else PICTURE)
            if kind == "locked":
                os.chmod(at, 0)
    except OSError:
        return
