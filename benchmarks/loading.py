"""Batches of augmented images, ours and others', for `data.py`: each makes its turn from a folder.

A turn is one epoch. A cold one begins with no page of the files in the page cache.
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
"""Images of a tar file."""


class Ours:
    """Batches from a pack, as a training on a CPU gets them."""

    def __init__(self, device: str, batch: int, files: Path, cold: bool = False) -> None:
        self.recipe, self.files, self.cold = Recipe(batch_size=batch), files, cold
        self.machine = devices.machine(device)
        self.epoch = 0
        self.open()

    def open(self) -> None:
        """Map the files."""
        pack = open_pack(self.files)
        preprocessing = Preprocessing.of(pack, self.recipe)
        self.batches: Any = Batches(pack.splits["train"], preprocessing, self.recipe, self.machine)

    def ready(self) -> None:
        """Go on to the next epoch; a cold one needs new maps, as mapped pages stay in the cache."""
        self.epoch += 1
        if self.cold:
            self.batches = None
            drop(self.files)
            self.open()

    def __call__(self) -> int:
        return sum(len(batch.labels) for batch in self.batches.epoch(self.epoch))


class Others:
    """As many batches as an epoch has, from a loader that goes on for ever."""

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
        """Use up what was made ahead, and empty the cache for a cold turn."""
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
    """The JPEGs in tar files, shuffled by shards and in a buffer, transformed as usual."""
    import webdataset

    shards = write_shards(files, max(workers, 1))
    urls = [str(shard) for shard in shards]
    samples = webdataset.WebDataset(urls, resampled=True, shardshuffle=False)
    loader = Loader(samples.shuffle(SHARD).map(sample), batch, workers)
    return Others(loader, batch, files, settle=loader.settle)


def sample(found: dict[str, Any]) -> tuple[Tensor, int]:
    """What a transform of webdataset makes of the files of a sample."""
    with Image.open(io.BytesIO(found["jpg"])) as image:
        return transformed(image), int(found["cls"])


def write_shards(files: Path, least: int) -> list[Path]:
    """The JPEGs of a folder as tar files beside them, at least so many."""
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
    """Raw 256-pixel images in ffcv's own file, random crops of them, flips, the usual colors."""
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
    """Its batches, epoch after epoch."""
    while True:
        yield from loader


def drop(folder: Path) -> None:
    """Ask the kernel to forget the pages of all files in a folder."""
    for path in files_of(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not yet written cannot be forgotten
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(folder: Path, samples: int = 512) -> float:
    """The share of the pages of a folder's files that are in the page cache, by samples.

    The last page of a file, which is not whole, stays whatever one asks.
    """
    step = max(PAGE, sum(path.stat().st_size for path in files_of(folder)) // samples)
    found = []
    for path in files_of(folder):
        with path.open("rb") as file:
            whole = path.stat().st_size // PAGE * PAGE
            found += [is_cached(file.fileno(), at) for at in range(0, whole, step)]
    return sum(found) / max(1, len(found))


def is_cached(file: int, at: int) -> bool:
    """Whether a read would not have to wait. Raises OSError where the kernel cannot tell."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


def files_of(folder: Path) -> Iterator[Path]:
    """The files in a folder and in those below it that are not empty."""
    return (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
