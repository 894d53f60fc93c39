"""Small sources for packing: pixels, and files of images."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.sources.entry import Entry, Skipped, Source

CLASSES = ("cat", "dog")


def source(path, items, classes=CLASSES, native_size=8) -> Source:
    """A source of these items, split → list."""
    return Source(
        "test", Path(path), classes, None, tuple(items), (), native_size, lambda s: iter(items[s])
    )


def pixels(seed: int, height=8, width=8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def arrays(count: int) -> Source:
    """Pixels that need no decoding, with something to skip among them."""

    def items(split, start):
        for i in range(start, start + count):
            yield Entry(split, f"{split}/ä\n{i}", i % 2, pixels(i))
            if i % 10 == 0:
                yield Skipped(split, f"{split}/.{i}", "hidden", "a dot file")

    return source("arrays", {"train": list(items("train", 0)), "val": list(items("val", 1000))})


def png(array) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, "PNG")
    return memory.getvalue()


def files(folder: Path, train=30, val=10) -> Source:
    """PNG files of 12×10 pixels in a folder, the fourth of which is cut off."""
    items = {"train": [], "val": []}
    for number in range(train + val):
        split = "train" if number < train else "val"
        path = folder / f"{number:03}.png"
        if not path.exists():
            content = png(pixels(number, 12, 10))
            path.write_bytes(content[:60] if number == 3 else content)
        items[split].append(Entry(split, path.name, number % 2, path))
    return source(folder, items)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
