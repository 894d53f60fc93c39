"""The images that a user gives to a classifier: their names, what the decoders get, the errors.

    a path                 str or Path; the file is read by a decoding process
    bytes                  of an image file: bytes, bytearray, memoryview
    an open file           opened for reading bytes, or a BytesIO: it is read
    a PIL image            of any mode
    a NumPy array          uint8, (height, width, 3), RGB, or (height, width), gray
    a torch tensor         uint8, (3, height, width), (height, width, 3) or (height, width)
    an `Entry`             of a source: any of a path, bytes or an array, with a name of its own

`predict.classifier` calls this module for every image. An object that is none of these is a
TypeError that says how to convert it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.images.decoded import UnusableImage
from alexnet.images.decoder_process import Item
from alexnet.images.pillow import read_pillow_image
from alexnet.images.preparation import PreparationResult
from alexnet.sources.entry import UNLABELED, Entry, Skipped

Image = Any
"""An image, as the head of this module lists them."""

WANTED = (
    "an image is a path, the bytes of an image file, an open file, a PIL image, or uint8 values in "
    "a NumPy array or a torch tensor"
)


def name_image(image: Image) -> str:
    """Return the name of an image in predictions: its path, or the name of its type if it has none.

    An open file has the name that it was opened by.
    """
    if isinstance(image, Entry):
        return image.name
    if isinstance(image, str | os.PathLike):
        return os.fsdecode(image)
    name = getattr(image, "name", None) if hasattr(image, "read") else None
    return name if isinstance(name, str) else type(image).__name__


def make_item(image: Image, upright: bool) -> Item:
    """Make what the decoders take. Raises TypeError for an object that is no image.

    `upright`: turn a PIL image as its EXIF orientation says, as the decoders do with files.
    """
    if isinstance(image, Entry):
        return image
    if isinstance(image, str | os.PathLike):
        name = name_image(image)
        return Entry("", name, UNLABELED, Path(name))
    if isinstance(image, bytes | bytearray | memoryview):
        return Entry("", "", UNLABELED, bytes(image))
    if hasattr(image, "read"):
        return Entry("", "", UNLABELED, _read_file(image))
    if isinstance(image, torch.Tensor):
        return Entry("", "", UNLABELED, _convert_tensor(image))
    if isinstance(image, np.ndarray):
        return Entry("", "", UNLABELED, _check_array(image))
    _refuse_other_objects(image)
    try:
        return Entry("", "", UNLABELED, read_pillow_image(image, upright=upright))
    except UnusableImage as error:
        return Skipped("", name_image(image), error.reason, str(error))


def make_error(image: Image, outcome: PreparationResult) -> Exception:
    """Make the exception for an unreadable image whose result cannot carry an error."""
    name = name_image(image)
    is_path = isinstance(image, str | os.PathLike)
    if is_path and os.path.isdir(image):
        return IsADirectoryError(
            f"{name} is a folder, not an image. For its images, give a list of them: "
            f"sorted(Path({name!r}).glob('*.jpg'))"
        )
    if outcome.reason != "unreadable" or not is_path:
        return UnusableImage(outcome.reason, outcome.detail)
    kind = OSError if os.path.lexists(image) else FileNotFoundError
    return kind(f"{name}: {outcome.detail}")


def _read_file(file: Any) -> bytes:
    """Return the content of an open file, from its start if it was read or written to the end."""
    content = file.read()
    if isinstance(content, str):
        raise TypeError(f"{name_image(file)} is open as text: open it with open(path, 'rb')")
    if not content and hasattr(file, "seek"):
        file.seek(0)
        content = file.read()
    return bytes(content)


def _convert_tensor(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Return a tensor as uint8 (height, width, 3) or (height, width).

    Raises TypeError for other types and shapes, and if both the first and the last dimension could
    be the colors.
    """
    shape = tuple(tensor.shape)
    found = f"a tensor of {str(tensor.dtype).removeprefix('torch.')} {shape} was given"
    if tensor.dtype != torch.uint8:
        raise TypeError(
            f"{found}, but pixels are uint8, from 0 to 255. If its values are from 0 to 1: (x * "
            "255).round().to(torch.uint8). What was normalized for a network has to be undone "
            "first; better, give the path of the image"
        )
    if len(shape) == 4:
        raise TypeError(f"{found}, a batch: give a list of images, list(x)")
    colors_first, colors_last = (len(shape) == 3 and shape[i] == 3 for i in (0, 2))
    if colors_first and colors_last:
        raise TypeError(
            f"{found}, in which the colors may come first or last: give x.permute(1, 2, 0).numpy() "
            "if they come first, x.numpy() if they come last"
        )
    if colors_first:
        tensor = tensor.permute(1, 2, 0)
    elif len(shape) == 3 and shape[0] == 1:
        tensor = tensor[0]
    if not (colors_first or colors_last or tensor.ndim == 2) or not tensor.numel():
        raise TypeError(
            f"{found}, but an image is (3, height, width), (height, width, 3) or (height, width)"
        )
    return tensor.detach().cpu().contiguous().numpy()


def _check_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the array if it can be an image. Raises TypeError otherwise, with how to convert."""
    has_image_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype == np.uint8 and has_image_shape and array.size:
        return array
    raise TypeError(
        f"an array of {array.dtype} {array.shape} was given, but images are uint8, (height, "
        f"width, 3) or (height, width), with values from 0 to 255{_advise_on_array(array)}"
    )


def _advise_on_array(array: NDArray[Any]) -> str:
    """Return how to convert an array that is not of the type or shape of an image."""
    if array.dtype.kind == "f" and array.size:
        scale = " * 255" if np.nanmax(array) <= 1 else ""
        return f". Convert it: (x{scale}).round().clip(0, 255).astype(np.uint8)"
    if array.dtype == bool:
        return ". Convert it: x.astype(np.uint8) * 255"
    if array.dtype != np.uint8:
        return ". Convert it: x.clip(0, 255).astype(np.uint8)"
    if array.ndim == 4:
        return ". For a batch, give a list of images: list(x)"
    if array.ndim == 3 and array.shape[0] == 3:
        return ". Put the colors last: x.transpose(1, 2, 0)"
    if array.ndim == 3 and array.shape[2] == 4:
        return ". Leave transparency away: x[..., :3]"
    return ". For gray values: x[..., 0]" if array.ndim == 3 and array.shape[2] == 1 else ""


def _refuse_other_objects(image: Image) -> None:
    """Raise TypeError for an object that is no PIL image."""
    if hasattr(image, "getbands"):
        return
    found = "None" if image is None else f"an object of type {type(image).__name__}"
    if isinstance(image, list | tuple):
        raise TypeError(f"{found} was given in place of one image of a list: {WANTED}")
    advice = "; for many images, give a list, or use stream" if hasattr(image, "__iter__") else ""
    raise TypeError(f"{found} was given, but {WANTED}{advice}")
