"""Texts of a figure that overlap each other, or that reach beyond its edge."""

import itertools

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

TOUCHING = 1.0
"""Pixels that two boxes may share: they have a margin of about as much."""


def find_texts(figure):
    """Return the visible texts of a figure and their boxes in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden = _list_hidden_ticks(figure)
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts]


def _list_hidden_ticks(figure):
    """Return the labels of ticks beyond the limits of their axes: they exist, but are not drawn."""
    return {
        label
        for axes in figure.findobj(Axes)
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks() + axis.get_minor_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }


def find_overlaps(figure):
    """Return pairs of texts whose boxes overlap, and texts that reach beyond the figure."""
    texts = find_texts(figure)
    assert texts, "a figure without any text"
    pairs = [
        (a, b)
        for (a, first), (b, second) in itertools.combinations(texts, 2)
        if min(first.x1, second.x1) - max(first.x0, second.x0) > TOUCHING
        and min(first.y1, second.y1) - max(first.y0, second.y0) > TOUCHING
    ]
    width, height = figure.bbox.width, figure.bbox.height
    outside = [
        (text, "the edge")
        for text, box in texts
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    return pairs + outside
