"""Figures drawn into PNG files."""

from PIL import Image

from alexnet.show.figures import plot_training_errors


def test_curves_are_drawn_into_a_png(tmp_path):
    path = tmp_path / "figure.png"
    curves = {"ReLU": [[0.5, 0.2], [0.6, 0.3]], "tanh": [[0.7, 0.6, 0.5]]}
    plot_training_errors(curves, path, finish=0.25, start=0.9, title="CIFAR-10")
    with Image.open(path) as image:
        assert image.size == (650, 546)
        assert len(image.convert("L").getcolors()) > 10
