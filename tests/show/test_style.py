"""Sizes, labels and files of figures."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image
from tests.show.examples import HARD

from alexnet.images.decoded import UnusableImage
from alexnet.show.style import (
    encode_figure,
    escape_label,
    fit_label,
    load_square,
    measure_text,
    name_class,
    new_figure,
    save_figure,
)


@pytest.mark.parametrize("name", HARD)
def test_a_label_is_never_wider_than_its_room(name):
    for width in (0.3, 0.8, 1.5):
        assert measure_text(fit_label(name, width)) <= width


def test_a_label_that_fits_stays_whole():
    assert fit_label("English springer", 2.0) == "English springer"
    assert fit_label("English springer", 0.6).endswith("…")


def test_letters_that_no_font_has_and_control_characters_are_escaped():
    assert escape_label("\U00012000 é ✓") == "\\U00012000 é ✓"  # a cuneiform sign
    assert escape_label("\x1b[2J\udcff") == "\\x1b[2J\\udcff"


def test_measured_widths_are_those_of_matplotlib():
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    text = "English springer 98 %"
    font = FontProperties(family="DejaVu Sans", size=8)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    assert measure_text(text, 8) * 72 == pytest.approx(width, rel=0.05)


def test_the_first_of_several_names_stands_for_a_class():
    assert name_class("tench, Tinca tinca") == "tench"
    assert name_class(",") == ","


def test_the_suffix_or_the_format_decides_what_is_written(tmp_path):
    figure = new_figure(2, 1, "Title")
    save_figure(figure, tmp_path / "a.png")
    save_figure(figure, tmp_path / "a.SVG")
    save_figure(figure, tmp_path / "b", "svg")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (300, 150)
    for name in ("a.SVG", "b"):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
    for name in ("a.pdf", "a"):
        with pytest.raises(ValueError, match=r"written as \.png or \.svg"):
            save_figure(figure, tmp_path / name)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(form):
    first, second = (encode_figure(new_figure(2, 1, "Title"), form) for _ in range(2))
    assert first == second


def test_an_image_file_is_loaded_upright_and_square(tmp_path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    square = load_square(tmp_path / "x.png", 16)
    assert square.shape == (16, 16, 3)
    assert square[:6].max() == 0
    assert square[10:].min() == 255
    (tmp_path / "bad.png").write_bytes(b"<html>")
    with pytest.raises(UnusableImage):
        load_square(tmp_path / "bad.png")
