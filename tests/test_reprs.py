"""What Python shows of the public objects: on one line, with what they hold, escaped in HTML."""

import dataclasses
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.packs.pack import Split
from alexnet.predict import Prediction
from alexnet.recipes.recipe import Recipe
from tests.conftest import CLASSES

EVIL = "<script>\x1b[2J"


@pytest.mark.parametrize("name", alexnet.RECIPES)
def test_a_recipe_shows_its_departures_and_evaluates_to_itself(name):
    recipe = alexnet.RECIPES[name]
    assert eval(repr(recipe), {"Recipe": Recipe}) == recipe


def test_a_recipe_is_printed_with_its_departures_first():
    assert repr(Recipe()) == "Recipe()"
    assert repr(Recipe(epochs=3)) == "Recipe(epochs=3)"
    lines = str(Recipe(seed=7)).splitlines()
    assert lines[1].split() == ["seed", "7", "(paper:", "0)"]
    assert len(lines) == 2 + len(dataclasses.fields(Recipe))


def test_a_prediction_shows_labels_with_probabilities():
    found = Prediction("cat.jpg", ("tabby", EVIL), (0.71, 0.2))
    assert repr(found) == r"Prediction('cat.jpg': tabby 71.0%, <script>\x1b[2J 20.0%)"
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    bad = Prediction(EVIL, error="truncated: <b>")
    assert "error='truncated: <b>'" in repr(bad)
    assert "<script>" not in bad._repr_html_()


def test_a_pack_shows_images_and_classes(tiny_pack):
    shown = repr(tiny_pack)
    assert "150 train, 60 val images of 32×32 pixels; 3 classes: 'rings'" in shown
    assert "<td>rings</td><td>50</td><td>20</td>" in tiny_pack._repr_html_()
    evil = dataclasses.replace(tiny_pack, classes=(EVIL, *CLASSES[1:]))
    assert "<script>" not in evil._repr_html_()
    assert isinstance(evil.splits["val"], Split)


def test_scores_show_the_errors(run):
    scores = alexnet.evaluate(run, device="cpu")
    assert repr(scores).startswith(f"Scores(top-1 error {scores.counts.top1:.2%}, loss ")
    assert "60 val images" in repr(scores)
    evil = dataclasses.replace(scores, pack=Path(EVIL))
    assert "<script>" not in evil._repr_html_()
    assert "top-1 error" in evil._repr_html_()


def test_a_classifier_shows_classes_sizes_and_device(run):
    with alexnet.load(run, device="cpu") as classifier:
        assert repr(classifier) == (
            "Classifier(3 classes: 'rings', 'stripes', 'spots'; 28×28 pixels of images of 32×32; "
            "on cpu)"
        )


def test_an_index_shows_its_images_and_features(run, tiny_pack, tmp_path):
    index = alexnet.build_index(run, tiny_pack, tmp_path / "x.index", layer="pool3", device="cpu")
    assert "x.index': 210 images, 576 features of pool3, float16)" in repr(index)
    assert alexnet.open_index(index).path == index.path


def test_the_alexnet_is_printed_as_figure_2():
    network = alexnet.NETS["alexnet"].build(10, seed=0)
    state = torch.get_rng_state()
    lines = {line.split()[0]: line for line in repr(network).splitlines()}
    assert lines["AlexNet:"].startswith("AlexNet: 3×224×224 → 10 outputs, ")
    shapes = [lines[f"conv{i}"].split()[1] for i in range(1, 6)]
    assert shapes == ["96×55×55", "256×27×27", "384×13×13", "384×13×13", "256×13×13"]
    assert "11×11 convolution of 3 maps, stride 4" in lines["conv1"]
    assert "5×5 convolution of 48 maps, 2 towers" in lines["conv2"]
    assert "response norm (n=5, α=1e-4, β=0.75, k=2), max pooling 3×3 at st" in lines["pool1"]
    assert "fully connected to 9216 inputs, relu, dropout 0.5" in lines["fc6"]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", alexnet.NETS)
def test_every_network_is_printed_with_its_shapes(name):
    with torch.device("meta"):
        network = alexnet.NETS[name].build(7)
    assert "7 outputs" in repr(network).splitlines()[0]
    assert "conv1 " in repr(network)


def test_a_network_that_cannot_be_run_is_printed_as_torch_does():
    network = alexnet.NETS["cifar"].build(7)
    network.fc4 = torch.nn.Linear(3, 7)
    assert "(fc4): Linear(in_features=3" in repr(network)
