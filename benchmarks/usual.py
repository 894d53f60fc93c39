"""The usual way to load images: JPEG files, Pillow, and a DataLoader that decodes one at a time.

`train_step.py`, `loading.py`, `data.py` and `packing.py` compare with it. It also makes the
synthetic photographs.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

HEIGHT, WIDTH, SIZE, CROP = 375, 500, 256, 224
DIFFERENT = 50
CLASSES = 1000
AHEAD = 2
"""Batches that a worker prefetches: the default of DataLoader."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The usual ImageNet channel means and standard deviations."""


def photograph(number: int) -> bytes:
    """Return a JPEG of about 50 KB: noise whose spectrum falls with frequency as in photographs."""
    random = np.random.default_rng(number)
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)
    frequency = np.maximum(np.hypot(x, y), 1 / WIDTH)
    spectrum = np.fft.rfft2(random.normal(size=(3, HEIGHT, WIDTH))) / frequency**1.25
    planes = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH))
    colors = planes[0] + 0.3 * planes  # channels are mostly equal, as in photographs
    pixels = 128 + 50 * colors / colors.std()
    memory = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, 2).clip(0, 255).astype(np.uint8)).save(
        memory, "JPEG", quality=79
    )
    return memory.getvalue()


def photographs(folder: Path, images: int, different: int = DIFFERENT) -> list[Path]:
    """Write `images` files, of which `different` are distinct; return their paths."""
    contents = [photograph(number) for number in range(min(images, different))]
    paths = [folder / f"{number:06}.jpg" for number in range(images)]
    for number, path in enumerate(paths):
        path.write_bytes(contents[number % len(contents)])
    return paths


def smaller(image: Image.Image) -> Image.Image:
    """Resize the shorter side to 256 pixels with an antialiasing filter."""
    scale = SIZE / min(image.size)
    shape = round(image.width * scale), round(image.height * scale)
    return image.convert("RGB").resize(shape, Image.Resampling.BILINEAR)


def transformed(image: Image.Image) -> Tensor:
    """Resize, crop and flip at random, convert to float and normalize, as torchvision does."""
    image = smaller(image)
    left = int(torch.randint(0, image.width - CROP + 1, ()))
    top = int(torch.randint(0, image.height - CROP + 1, ()))
    image = image.crop((left, top, left + CROP, top + CROP))
    if torch.rand(()) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    return (pixels - mean) / deviation


class Folder(Dataset):
    """A map-style dataset that decodes on access.

    It reports a length of 1,000,000, so that no epoch ends during a benchmark.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index % len(self.paths)]) as image:
            return transformed(image), index % CLASSES


class Loader:
    """Endless shuffled batches: images float32 (N, 3, 224, 224) and labels (N,)."""

    def __init__(self, data: Dataset, batch: int, workers: int, pinned: bool = False) -> None:
        self.ahead = AHEAD * workers
        loader = DataLoader(
            data,
            batch,
            shuffle=not isinstance(data, IterableDataset),
            num_workers=workers,
            prefetch_factor=AHEAD,
            pin_memory=pinned,
            drop_last=True,
            worker_init_fn=one_thread,
        )
        self.stream = iter(loader)

    def __next__(self) -> tuple[Tensor, Tensor]:
        return next(self.stream)

    def settle(self) -> None:
        """Discard the batches that the workers prefetched during the turns of other contestants."""
        for _ in range(self.ahead):
            next(self)


def one_thread(_: int) -> None:
    """Initialize a worker: one thread each, since the other cores have workers of their own."""
    torch.set_num_threads(1)
