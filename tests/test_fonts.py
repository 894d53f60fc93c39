"""Letters of all scripts are drawn in fonts that have them; what no font has is said once."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from alexnet import fonts
from alexnet.images.png import write_png
from alexnet.show.style import encode_figure, fit_label, measure_text, new_figure

LETTER = "猫"
LACKING = "\U00012000"


def draw_square():
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


@pytest.fixture
def font(tmp_path, monkeypatch):
    """An installed font in which 猫 is a black square, and the only one beside DejaVu Sans."""
    path = tmp_path / "Squares-Regular.ttf"
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(LETTER): "cat"})
    builder.setupGlyf({".notdef": draw_square(), "cat": draw_square()})
    builder.setupHorizontalMetrics({".notdef": (1000, 100), "cat": (1000, 100)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    forget()
    monkeypatch.setattr(fonts, "_list_installed", lambda: (str(path),))
    yield str(path)
    forget()


def forget():
    fonts._find_other.cache_clear()
    for state in (fonts._used, fonts._missing, fonts._reported):
        state.clear()


def test_a_letter_is_found_in_the_font_that_has_it(font):
    assert fonts.find_font("a").endswith("DejaVuSans.ttf")
    assert fonts.find_font(LETTER) == font
    assert fonts.find_font(LACKING) is None
    assert fonts.list_families(f"cat {LETTER}") == ["DejaVu Sans", "Squares"]
    parts = fonts.split_by_font(f"cat {LETTER}{LETTER}!")
    assert [part for _, part in parts] == ["cat ", LETTER * 2, "!"]
    assert fit_label(LETTER, 1.0) == LETTER
    assert measure_text(LETTER, 72) == pytest.approx(1.0)


@pytest.mark.filterwarnings("error")
def test_a_figure_has_the_letter_and_no_warning_of_a_missing_glyph(font):
    images = []
    for name in ("", LETTER):
        figure = new_figure(2, 1, fit_label(f"a{name}", 1.5))
        axes = figure.subplots()
        axes.set_yticks([0], [fit_label(name, 1.0)])
        images.append(encode_figure(figure))
    assert images[0] != images[1]
    assert figure.texts[0].get_family() == ["DejaVu Sans", "Squares"]
    assert axes.get_yticklabels()[0].get_family() == ["DejaVu Sans", "Squares"]


def test_a_caption_of_the_contact_sheet_has_the_letter(font, tmp_path):
    white = np.full((20, 60, 3), 255, np.uint8)
    write_png(tmp_path / "x.png", white, [(2, 2, f"ab{LETTER}")])
    with Image.open(tmp_path / "x.png") as image:
        black = np.asarray(image).max(2) == 0
    rows, columns = np.nonzero(black[:, 17:])
    assert np.ptp(rows) >= 8
    assert np.ptp(columns) >= 8


def test_what_no_font_has_is_escaped_and_reported_once(font):
    assert fonts.escape_missing(f"x{LACKING}") == "x\\U00012000"
    report = fonts.take_report()
    assert "\\U00012000" in report
    assert "fonts-noto-core" in report
    assert fonts.take_report() == ""


def test_the_fonts_of_the_system_are_listed_plain_ones_first():
    installed = fonts._list_installed()
    assert not any("lastresort" in path.lower() for path in installed)
    bold = ["bold" in path.lower() for path in installed]
    assert bold == sorted(bold) or len(set(bold)) == 1 or not bold[0]
