"""The figure of queries and similar images."""

import numpy as np
from PIL import Image
from tests.conftest import picture

from alexnet.show.similar import SimilarRow, plot_similar


def test_a_row_per_query_is_drawn_with_captions_that_matplotlib_must_not_parse(tmp_path):
    rows = [
        SimilarRow(
            "$x_$ \x1b[31m", picture(0, 0), [picture(1, k) for k in range(n)], ["$a$\nb"] * n
        )
        for n in (3, 0, 2)
    ]
    plot_similar(rows, tmp_path / "x.figure")
    with Image.open(tmp_path / "x.figure") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    left, gap = pixels[:, : pixels.shape[1] // 5], pixels[-pixels.shape[0] // 3 :, -20:]
    assert left.std() > 10
    assert gap.min() == 255  # the last row has two similar images only
