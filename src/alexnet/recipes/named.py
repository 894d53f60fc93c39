"""The recipes that have a name, and which of them suits a pack.

`alexnet train` begins with one of these, and prints in which fields it departs from the paper. The
trainings of the 2012 code are in `lab_notes`. Like `recipe`, this must not import torch.
"""

from __future__ import annotations

from alexnet.recipes import lab_notes
from alexnet.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    # Photographs, fewer than the paper has.
    "small": Recipe(
        initialization="variance",
        schedule="cosine",
        warmup_epochs=1.0,
        epochs=30,
        batch_size=64,
        pixel_scale=1 / 64,
    ),
    # Small images, such as those of CIFAR-10.
    "cifar": Recipe(
        network="cifar",
        initialization="variance",
        crop=32,
        dropout=0.0,
        color_noise=0.0,
        epochs=10,
        learning_rate=0.02,
        schedule="cosine",
        warmup_epochs=0.5,
        pixel_scale=1 / 64,
    ),
    # Small images that must not be mirrored.
    "digits": Recipe(
        network="cifar",
        initialization="variance",
        crop=28,
        dropout=0.0,
        color_noise=0.0,
        flip=False,
        epochs=20,
        batch_size=32,
        learning_rate=0.02,
        schedule="cosine",
        warmup_epochs=1,
        pixel_scale=1 / 64,
    ),
    **lab_notes.TRAININGS,
}
"""Recipes by name. `alexnet train` prints the fields in which the chosen one is not the paper's."""

DIGITS = "digits", "mnist"
"""Kinds of sources whose images are digits."""

SMALLEST_PHOTOGRAPH = 64
"""Packed images with a smaller side, in pixels, are too small for the ImageNet networks."""

FEW_IMAGES = 100_000
"""With fewer training images than this, the paper's initialization keeps the loss at ln(classes),
which is that of guessing, for a long time."""


def packed_side(crop: int) -> int:
    """Return the side at which photographs are packed for crops of this side: 256 for 224."""
    return crop * 8 // 7


def recommend(kind: str, size: int, images: int, validation: bool) -> tuple[str, str]:
    """Return the name of the recipe for a pack, and the reason in words.

    The pack was made from a source of this `kind`; it has `images` training images of `size`×`size`
    pixels, and images for `validation` or none.
    """
    if kind in DIGITS:
        return "digits", "the images are digits, which must not be mirrored"
    if size < SMALLEST_PHOTOGRAPH:
        return "cifar", f"the packed images are small ({size}×{size})"
    if images < FEW_IMAGES:
        return "small", (
            f"there are few training images ({images:,}), with which the paper's initialization "
            "learns slowly at first"
        )
    if not validation:
        return "small", "there are no validation images, which the paper's schedule needs"
    return "paper", f"there are {images:,} training images, enough for the paper's recipe"
