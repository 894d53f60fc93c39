"""Contestants of `data.py`: batches of augmented images from a pack, and from other loaders.

A turn is one epoch over a folder of files. A cold turn starts with none of their pages in the
kernel's page cache.
"""

from __future__ import annotations

import io
import mmap
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from alexnet import device as devices
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.packs.pack import open_pack
from alexnet.recipes.recipe import Recipe
from usual import CLASSES, CROP, SIZE, Folder, Loader, transformed

PAGE = mmap.PAGESIZE
SHARD = 1000
"""Number of images per tar file."""


class Ours:
    """Batches from a pack, made as in a training on a CPU."""

    def __init__(self, device: str, batch: int, files: Path, cold: bool = False) -> None:
        self.recipe, self.files, self.cold = Recipe(batch_size=batch), files, cold
        self.machine = devices.set_up_machine(device)
        self.epoch = 0
        self.open()

    def open(self) -> None:
        """Open the pack, whose files are memory-mapped."""
        pack = open_pack(self.files)
        preprocessing = Preprocessing.of(pack, self.recipe)
        self.batches: Any = Batches(pack.splits["train"], preprocessing, self.recipe, self.machine)

    def ready(self) -> None:
        """Prepare the next epoch. A cold one maps the files again: mapped pages stay cached."""
        self.epoch += 1
        if self.cold:
            self.batches = None
            drop(self.files)
            self.open()

    def __call__(self) -> int:
        return sum(len(batch.labels) for batch in self.batches.epoch(self.epoch))


class Others:
    """The batches of one epoch from an endless loader."""

    def __init__(
        self,
        loader: Any,
        batch: int,
        files: Path,
        cold: bool = False,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self.loader, self.batch, self.files, self.cold = loader, batch, files, cold
        self.steps = max(1, sum(1 for _ in files.glob("*.jpg")) // batch)
        self.settle = settle

    def ready(self) -> None:
        """Discard prefetched batches and, for a cold turn, empty the page cache."""
        self.settle()
        if self.cold:
            drop(self.files)

    def __call__(self) -> int:
        for _ in range(self.steps):
            images, _ = next(self.loader)
            assert images.shape[1:] == (3, CROP, CROP)
        return self.steps * self.batch


def usual(device: str, batch: int, files: Path, workers: int, cold: bool = False) -> Others:
    """A DataLoader over the JPEGs."""
    loader = Loader(Folder(sorted(files.glob("*.jpg"))), batch, workers)
    return Others(loader, batch, files, cold, loader.settle)


def webdataset(device: str, batch: int, files: Path, workers: int) -> Others:
    """webdataset over tar files of the JPEGs, shuffled in a buffer, with the same transforms."""
    import webdataset

    shards = write_shards(files, max(workers, 1))
    urls = [str(shard) for shard in shards]
    samples = webdataset.WebDataset(urls, resampled=True, shardshuffle=False)
    loader = Loader(samples.shuffle(SHARD).map(decode_sample), batch, workers)
    return Others(loader, batch, files, settle=loader.settle)


def decode_sample(sample: dict[str, Any]) -> tuple[Tensor, int]:
    """Decode and transform a sample of webdataset."""
    with Image.open(io.BytesIO(sample["jpg"])) as image:
        return transformed(image), int(sample["cls"])


def write_shards(files: Path, least: int) -> list[Path]:
    """Write the JPEGs of a folder into at least `least` tar files beside them."""
    paths = sorted(files.glob("*.jpg"))
    size = min(SHARD, -(-len(paths) // least))
    shards = []
    for begin in range(0, len(paths), size):
        shards.append(files / f"{begin:06}.tar")
        with tarfile.open(shards[-1], "w") as tar:
            for number, path in enumerate(paths[begin : begin + size], begin):
                tar.add(path, path.name)
                label = tarfile.TarInfo(f"{path.stem}.cls")
                label.size = len(text := str(number % CLASSES).encode())
                tar.addfile(label, io.BytesIO(text))
    return shards


def ffcv(device: str, batch: int, files: Path, workers: int) -> Others:
    """ffcv over a file of raw 256-pixel images, with random crops, flips and normalization."""
    import numpy as np
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader as FastLoader
    from ffcv.loader import OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
    from ffcv.writer import DatasetWriter

    from usual import DEVIATION, MEAN, smaller

    class Squares:
        paths = sorted(files.glob("*.jpg"))

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            with Image.open(self.paths[index]) as image:
                return smaller(image), index % CLASSES

    fields = {"image": RGBImageField(write_mode="raw", max_resolution=SIZE), "label": IntField()}
    DatasetWriter(str(files / "all.beton"), fields).from_indexed_dataset(Squares())
    colors = NormalizeImage(255 * np.array(MEAN), 255 * np.array(DEVIATION), np.float32)
    crop = RandomResizedCropRGBImageDecoder((CROP, CROP), scale=(0.7, 1), ratio=(1, 1))
    pipelines = {
        "image": [crop, RandomHorizontalFlip(), colors, ToTensor(), ToTorchImage()],
        "label": [IntDecoder(), ToTensor()],
    }
    loader = FastLoader(
        str(files / "all.beton"),
        batch_size=batch,
        num_workers=workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        pipelines=pipelines,
    )
    return Others(endless(loader), batch, files)


def endless(loader: Any) -> Iterator[Any]:
    """Yield the batches of a loader, epoch after epoch."""
    while True:
        yield from loader


def drop(folder: Path) -> None:
    """Ask the kernel to drop all pages of a folder's files from its page cache."""
    for path in files_of(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # pages that are not yet on the disk cannot be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(folder: Path, samples: int = 512) -> float:
    """Return the fraction of sampled pages of a folder's files that are in the page cache.

    The last, partial page of a file is left out, because the kernel never drops it.
    """
    step = max(PAGE, sum(path.stat().st_size for path in files_of(folder)) // samples)
    found = []
    for path in files_of(folder):
        with path.open("rb") as file:
            whole = path.stat().st_size // PAGE * PAGE
            found += [is_cached(file.fileno(), at) for at in range(0, whole, step)]
    return sum(found) / max(1, len(found))


def is_cached(file: int, at: int) -> bool:
    """Return whether a page is in the page cache. Raises OSError if the kernel cannot tell."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


def files_of(folder: Path) -> Iterator[Path]:
    """Yield all non-empty files under a folder."""
    return (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
