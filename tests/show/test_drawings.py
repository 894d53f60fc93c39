"""Every figure with the names and sizes that are hardest to show."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from tests.show.examples import DRAWINGS, HARD, make_confusion, make_images, name_classes, predict
from tests.show.overlaps import find_overlaps, find_texts

from alexnet.show.augmentation import draw_augmented
from alexnet.show.classes import draw_class_scores, draw_confusion, sum_blocks
from alexnet.show.curves import TrainingLog, draw_curves
from alexnet.show.feature_map import draw_feature_map
from alexnet.show.heat_maps import draw_heat_maps, scale_map
from alexnet.show.kernels import draw_kernels, scale_kernels, tile_kernels
from alexnet.show.neighbors import draw_neighbors
from alexnet.show.predictions import draw_predictions, format_share
from alexnet.show.style import DPI, SMALL, WIDTH, encode_figure, escape_label


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_text_overlaps_another_or_the_edge(name):
    assert find_overlaps(DRAWINGS[name]()) == []


@pytest.mark.parametrize("name", ["predictions-24", "confusion-10", "features-20", "curves-90"])
def test_a_figure_is_legible_and_repeats_as_svg(name):
    from matplotlib.text import Text

    figure = DRAWINGS[name]()
    assert figure.get_figwidth() * DPI <= WIDTH * DPI
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(sizes) >= SMALL - 3  # exponents of powers of ten are smaller
    drawn = encode_figure(figure, "svg")
    ElementTree.fromstring(drawn)
    assert b"<script" not in drawn


def test_the_number_of_each_bar_and_a_mark_for_the_right_one_are_shown():
    figure = draw_predictions(make_images(1), predict(1), truths=["tench, Tinca tinca"])
    texts = [text for text, _ in find_texts(figure)]
    assert "100 %" in texts
    assert "< 0.1 %" in texts
    assert "✗ tench" in texts
    right = draw_predictions(make_images(1), predict(6)[5:], truths=["tench, Tinca tinca"])
    assert [text for text, _ in find_texts(right)].count("✓ tench") == 2


def test_a_figure_says_how_many_images_it_leaves_out():
    figure = draw_predictions(make_images(3), predict(3), total=130)
    assert "the first 3 of 130 images" in [text for text, _ in find_texts(figure)]


def test_shares_have_two_digits():
    shares = (1.0, 0.5, 0.0995, 0.05, 0.0004, 0.0)
    assert [format_share(x) for x in shares] == [
        *("100 %", "50 %", "10 %", "5.0 %", "< 0.1 %", "0.0 %")
    ]


def test_a_neighbor_of_another_class_is_marked():
    figure = draw_neighbors(
        make_images(1), [make_images(2)], query_labels=["cat"], neighbor_labels=[["cat", "dog"]]
    )
    assert [text for text, _ in find_texts(figure)] == ["cat", "✓ cat", "✗ dog"]


def test_a_neighbor_without_a_label_has_its_name_whole():
    names = ["a, b.jpg", *HARD[1:3]]
    figure = draw_neighbors(
        make_images(3),
        [make_images(3), [], make_images(1)],
        query_names=["x, y.png", HARD[3], "z"],
        neighbor_labels=[[None, "tench, Tinca tinca", None], [], [None]],
        neighbor_names=[names, [], [HARD[7]]],
    )
    assert find_overlaps(figure) == []
    texts = [text for text, _ in find_texts(figure)]
    for text in "x, y.png", "a, b.jpg", "tench", "z", escape_label(HARD[7]):
        assert text in texts
    assert "a" not in texts
    assert not any("\x1b" in text or "\u202e" in text for text in texts)


def test_a_kernel_has_its_own_contrast_and_zero_is_gray():
    kernels = np.zeros((3, 3, 2, 2), np.float32)
    kernels[1, 0] = 1e-6
    kernels[2, :, 0, 0] = -5, 5, 2.5
    scaled = scale_kernels(kernels)
    assert (scaled[0] == 0.5).all()
    assert scaled[1, 0, 0].tolist() == [1, 0.5, 0.5]
    assert scaled[2, 0, 0].tolist() == [0, 1, 0.75]


def test_kernels_stand_in_rows_with_a_white_pixel_between():
    tiled = tile_kernels(np.zeros((5, 2, 3, 3), np.float32), columns=4)
    assert tiled.shape == (5, 15, 3)
    assert (tiled[2] == 1).all()
    assert (tiled[:2, 3] == 1).all()
    assert tiled[3:, :3].max() == 0
    assert (tiled[3:, 3:] == 1).all()


def test_blocks_of_a_confusion_matrix_hold_all_its_images():
    confusion = make_confusion(45)
    blocks = sum_blocks(confusion, 2)
    assert blocks.shape == (23, 23)
    assert blocks.sum() == confusion.sum()
    assert blocks[22, 0] == confusion[44, :2].sum()


def test_a_heat_map_is_scaled_by_its_largest_value():
    heat = np.array([[-1.0, 0.0], [np.nan, 0.5]])
    assert scale_map(heat).tolist() == [[0, 0], [0, 1]]
    assert scale_map(np.zeros((2, 2))).max() == 0


EMPTY = np.empty((0, 8, 8, 3), np.uint8)
REFUSED = {
    "no images": lambda: draw_predictions(EMPTY, []),
    "as many predictions": lambda: draw_predictions(make_images(2), predict(1)),
    "no images to draw neighbors": lambda: draw_neighbors(EMPTY, []),
    "2 rows were given for 1": lambda: draw_neighbors(make_images(1), [make_images(1)] * 2),
    "1 rows were given for 2": lambda: draw_neighbors(
        make_images(2), [[], []], neighbor_names=[[]]
    ),
    r"weights are \(8, 4, 3, 3\)": lambda: draw_kernels(np.ones((8, 4, 3, 3))),
    "among 3 towers": lambda: draw_kernels(np.ones((8, 3, 3, 3)), 3),
    "no losses yet": lambda: draw_curves(TrainingLog()),
    "with 0 images": lambda: draw_confusion(np.zeros((2, 2), np.int64), ["a", "b"]),
    "no augmented images": lambda: draw_augmented(make_images(1)[0], EMPTY, EMPTY),
    "must be images": lambda: draw_heat_maps(EMPTY, [], [], []),
    "two coordinates": lambda: draw_feature_map({}, np.zeros(1, np.int64), ["a"]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused_with_the_reason(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_scores_of_other_classes_are_refused():
    from alexnet.evaluation.confusion import score_classes

    with pytest.raises(ValueError, match="scores of 3 classes"):
        draw_class_scores(score_classes(make_confusion(3)), name_classes(2))
