"""What all figures share: size, colors, letters, labels that fit, and how a figure becomes a file.

Every figure is made with `new_figure` and written with `save_figure`. All texts from outside (names
of classes and files) go through `fit_label`, which escapes what cannot be printed and shortens by
measured width, so that no label reaches into its neighbor. Used by every module of `show`; must
import none of them. matplotlib is imported when a figure is made, not when this module is.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet.files import replace_bytes
from alexnet.fonts import FONT, escape_missing, find_font, list_families
from alexnet.terminal import escape_unprintable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]
Image = NDArray[np.uint8]
"""An image to show: uint8 (height, width, 3), RGB, or (height, width), gray."""
Images = Sequence[Image] | NDArray[np.uint8]
"""Images in order, or an array of them: uint8 (N, height, width, 3)."""

WIDTH = 9.0
"""Width of a figure in inches: shown 900 pixels wide, as in a README, an inch is 100 pixels."""
DPI = 150
"""Pixels per inch of a PNG file: 1,350 pixels for the full width, sharp on dense screens too."""
SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0
"""Sizes of letters in points: labels, axes, titles. 8 points are 11 pixels at 900 pixels width."""

BLACK, GRAY, PALE = "#000000", "#5f6b76", "#d5dde5"
ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, RED, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
PALETTE = BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK
"""The colors of Okabe & Ito (2008), which people with any kind of color blindness tell apart."""
RIGHT, WRONG, OTHER = GREEN, RED, PALE
"""Colors of the right label, of a wrong one where that matters, and of all others."""
RIGHT_MARK, WRONG_MARK = "✓", "✗"
"""What says the same as `RIGHT` and `WRONG` without color."""
MAP = "viridis"
"""The color map of matrices and heat maps: even in brightness, and readable in gray."""


def new_figure(width: float = WIDTH, height: float = 4.0, title: str | None = None) -> Figure:
    """Return an empty figure of so many inches, whose parts are arranged so as not to overlap."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    if title:
        figure.suptitle(
            fit_label(title, width - 0.3, LARGE), fontsize=LARGE, family=FONT, parse_math=False
        )
    return figure


def save_figure(figure: Figure, path: str | Path, format: Format | None = None) -> None:
    """Write a figure as PNG or SVG, whole or not at all.

    `format` is by default the suffix of the path. Raises ValueError for any other format, and
    OSError if the file cannot be written.
    """
    form = format or check_figure_path(path)
    replace_bytes(Path(path), encode_figure(figure, form))


def check_figure_path(path: str | Path) -> Format:
    """Return the format that the suffix of a path asks for. Raises ValueError if it is none.

    Commands call it before the work whose figure is to be written.
    """
    form = Path(path).suffix.lower().removeprefix(".")
    if form not in ("png", "svg"):
        raise ValueError(
            f"{path}: figures are written as .png or .svg, not as "
            f"{escape_unprintable(form) or 'a file without a suffix'!r}"
        )
    return form  # type: ignore[return-value]


def encode_figure(figure: Figure, format: Format = "png") -> bytes:
    """Return a figure as the bytes of a PNG or an SVG file.

    The same figure gives the same bytes: no date is in them. Letters of an SVG are outlines, so it
    looks the same without the font, and no text of it can be read as markup.
    """
    from matplotlib import rc_context

    use_other_fonts(figure)
    file, metadata = io.BytesIO(), {"Date": None} if format == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "alexnet", "svg.fonttype": "path"}):
        figure.savefig(file, format=format, metadata=metadata)
    return file.getvalue()


Drawing = TypeVar("Drawing", bound=Callable[..., Any])


def with_style(draw: Drawing) -> Drawing:
    """Decorate a function that draws: its axes, ticks and legends get the style of this package."""

    @functools.wraps(draw)
    def draw_styled(*args: Any, **options: Any) -> Any:
        from matplotlib import rc_context

        with rc_context(_list_settings()):
            figure = draw(*args, **options)
            use_other_fonts(figure)
            return figure

    return draw_styled  # type: ignore[return-value]


def _list_settings() -> Any:
    """The settings of matplotlib that differ from its own."""
    from cycler import cycler

    return {
        "font.family": FONT,
        "font.size": NORMAL,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": NORMAL,
        "axes.labelsize": NORMAL,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "legend.title_fontsize": SMALL,
        "axes.prop_cycle": cycler(color=PALETTE),
    }


def escape_label(text: str) -> str:
    """Return a text with everything escaped that cannot be printed or that no font can draw.

    A name in letters that no installed font has is shown as its code points, `\\u4e2d`: boxes would
    make different names look alike.
    """
    return escape_missing(text)


def use_other_fonts(figure: Figure) -> None:
    """Give each text of a figure the fonts of all its letters; `FONT` has the letters of most."""
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    for axes in figure.findobj(Axes):
        _ = axes.get_xticklabels(), axes.get_yticklabels()  # makes the labels, with their texts
    for text in figure.findobj(Text):
        families = list_families(text.get_text())
        if len(families) > 1:
            text.set_fontfamily(families)


def measure_text(text: str, size: float = SMALL) -> float:
    """Return the width of an escaped text in inches, in letters of `size` points."""
    return sum(_measure_letter(letter) for letter in text) * size / 72


@functools.cache
def _measure_letter(letter: str) -> float:
    """The advance of a letter as a fraction of the size of the font; kerning is left out."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(find_font(letter) or findfont(FontProperties(family=FONT)))
    font.set_size(100, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100


def fit_label(text: str, width: float, size: float = SMALL) -> str:
    """Return a text, escaped and cut so that it is at most `width` inches wide.

    Of a text that is too wide the end is replaced by "…".
    """
    text = escape_label(text)
    if measure_text(text, size) <= width:
        return text
    room = width - measure_text("…", size)
    for i, letter in enumerate(text):
        room -= measure_text(letter, size)
        if room < 0:
            return text[:i].rstrip() + "…"
    return text


def name_class(label: str) -> str:
    """Return the first of a class's comma-separated names: `tench` of `tench, Tinca tinca`."""
    return label.split(",")[0].strip() or label


def show_image(axes: Axes, image: Image, size: float = 2.0) -> None:
    """Show an image on axes without frame, about `size` inches wide.

    Images of fewer pixels than are drawn are shown as squares, not blurred.
    """
    pixels = np.asarray(image)
    small = max(pixels.shape[:2]) < size * DPI / 2
    colors: dict[str, Any] = {} if pixels.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 255}
    axes.imshow(pixels, interpolation="nearest" if small else "antialiased", **colors)
    hide_axes(axes)


def load_square(image: str | Path | bytes, side: int = 256) -> Image:
    """Read the central square of an image file, upright as its EXIF says: uint8 (side, side, 3).

    `image` is its path or its content.

    Raises OSError for a file that cannot be read, UnusableImage if it is no image.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    from alexnet.images.decoding import decode

    content = image if isinstance(image, bytes) else Path(image).read_bytes()
    pixels = decode(content, upright=True, reduce_to=side).pixels
    return np.asarray(ImageOps.fit(Pillow.fromarray(pixels), (side, side)))


def hide_axes(axes: Axes) -> None:
    """Remove ticks and frame; titles and labels of the axes stay."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def add_title(axes: Axes, text: str, width: float, color: str = BLACK) -> None:
    """Write a small title above axes that are `width` inches wide."""
    axes.set_title(
        fit_label(text, width - 0.1, SMALL),
        fontsize=SMALL,
        color=color,
        parse_math=False,
        family=FONT,
        pad=3,
    )
