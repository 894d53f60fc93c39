"""Folders for the Hugging Face hub: written, read again, refused when damaged."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import CLASSES, picture

import alexnet
from alexnet import checkpoint as checkpoints
from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.exporting.export import export
from alexnet.exporting.hub import FILES, read_hub_folder
from alexnet.exporting.hub_card import escape_markdown, quote_yaml, write_hub_card

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b`c`*d* [x](https://example.org) ![y](z) www.example.org",
    "red\x1b[2J\u202egnol \"quoted\" 'too' # : {a}\ud800",
)


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """A copy of the run with scores."""
    copy = tmp_path_factory.mktemp("measured") / "pictures"
    shutil.copytree(run, copy)
    scores = evaluate_run(copy, device="cpu")
    write_scores(scores, choose_scores_path(scores))
    return copy


@pytest.fixture(scope="module")
def exported(measured, tmp_path_factory):
    """The run as a folder for the hub."""
    return export(measured, tmp_path_factory.mktemp("hub") / "pictures")


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of that folder, to be changed."""
    return shutil.copytree(exported.path, tmp_path / "copy")


def test_a_folder_holds_the_weights_and_nothing_of_the_training(exported, measured):
    assert {path.name for path in exported.path.iterdir()} == set(FILES)
    assert exported.difference < 1e-5
    assert exported.images == 32
    weights = load_file(exported.path / "model.safetensors")
    wanted = checkpoints.load(measured / "best.safetensors").weights
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert str(measured) not in (exported.path / "README.md").read_text()
    assert str(measured) not in (exported.path / "config.json").read_text()


def test_a_folder_is_read_as_it_was_written(exported, measured):
    wanted, found = checkpoints.load(measured / "best.safetensors"), read_hub_folder(exported.path)
    for name in ("recipe", "classes", "wordnet_ids", "pack_checksum"):
        assert getattr(found, name) == getattr(wanted, name)
    assert found.preprocessing.settings() == wanted.preprocessing.settings()
    assert torch.equal(found.preprocessing.mean, wanted.preprocessing.mean)


def test_a_folder_is_a_classifier_with_the_same_probabilities(exported, measured):
    images = [picture(k % 3, 900 + k) for k in range(5)]
    found, wanted = (alexnet.load(x, device="cpu") for x in (exported.path, measured))
    assert found.classes == CLASSES
    np.testing.assert_array_equal(found.probabilities(images), wanted.probabilities(images))
    assert found.features(images[0], "conv3").shape == (1, 64, 7, 7)


def test_the_configuration_says_what_a_foreign_program_needs(exported):
    config = json.loads((exported.path / "config.json").read_text())
    assert config["id2label"] == {"0": "rings", "1": "stripes", "2": "spots"}
    assert config["preprocessing"]["side"] == 32
    assert config["preprocessing"]["crop"] == 28
    assert (config["order"], len(config["mean"])) == ("RGB", 3)
    assert config["scale"] == pytest.approx(1 / 64)
    assert "the central 28x28" in config["input"]


def test_the_header_of_the_card_is_yaml_with_the_measured_accuracy(exported):
    yaml = pytest.importorskip("yaml")
    _, header, body = (exported.path / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert facts["pipeline_tag"] == "image-classification"
    metrics = facts["model-index"][0]["results"][0]["metrics"]
    assert [metric["type"] for metric in metrics] == ["accuracy"]  # two classes: no top-5
    assert 0 <= metrics[0]["value"] <= 1
    assert "## Limits" in body
    assert "| 2 | spots |" in body


def test_hostile_names_stay_text_in_yaml_and_in_markdown(measured):
    trained = checkpoints.load(measured / "best.safetensors")
    text = write_hub_card(dataclasses.replace(trained, classes=HOSTILE), HOSTILE[2], [], None)
    rows = [line for line in text.splitlines() if line[:4] in ("| 0 ", "| 1 ", "| 2 ")]
    assert len(rows) == 3
    assert r"\<script\>alert(1)\</script\>" in rows[0]
    assert r"a\|b\`c\`\*d\* \[x\](https\://example.org) !\[y\](z) www\.example.org" in rows[1]
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode("utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_quoted_name_is_one_scalar_of_yaml(name):
    yaml = pytest.importorskip("yaml")
    assert "\n" not in quote_yaml(name)
    (value,) = yaml.safe_load(f"- {quote_yaml(name)}")
    assert value.isprintable()


def test_ordinary_names_are_not_changed_by_escaping():
    assert escape_markdown("tench, Tinca tinca (n01440764): 50 %") == (
        "tench, Tinca tinca (n01440764): 50 %"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessing.safetensors"])
def test_a_damaged_byte_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"the tensors of .*{name} are damaged"):
        alexnet.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": None}, "does not describe a network of this program"),
        ({"version": 2}, "version is 2, not one of 1"),
        ({"id2label": {"0": "a", "2": "b"}}, "does not number the classes"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, "two classes have the same name"),
        ({"id2label": {"0": "a", "1": "b"}}, "does not fit network 'cifar'"),
        ({"recipe": {"network": "lenet"}}, "cannot be built"),
        ({"preprocessing": {}}, "lacks the field 'side'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder, change, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        alexnet.load(folder)


def test_a_missing_file_is_named(folder):
    (folder / "preprocessing.safetensors").unlink()
    with pytest.raises(ValueError, match=r"preprocessing.safetensors is missing: copy the whole"):
        alexnet.load(folder)


def test_an_edited_card_is_kept_and_the_rest_is_replaced(run, folder):
    (folder / "README.md").write_text("my card\n")
    (folder / "model.safetensors").write_bytes(b"")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    said = []
    export(run, folder, say=said.append)
    assert (folder / "README.md").read_text() == "my card\n"
    assert any("README.md is kept" in text for text in said)
    assert alexnet.load(folder).classes == CLASSES


def test_other_folders_and_files_are_left_alone(run, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"holds other files \('thesis.tex'\)"):
        export(run, tmp_path / "other")
    with pytest.raises(FileExistsError, match="holds other files"):
        export(run, run)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file: name a folder"):
        export(run, tmp_path / "file")
    (tmp_path / "x.onnx").mkdir()
    with pytest.raises(FileExistsError, match="is a folder: name a file"):
        export(run, tmp_path / "x.onnx")


def test_a_name_with_a_dot_needs_the_format(run, tmp_path):
    with pytest.raises(ValueError, match=r"'pictures-v1.0' must end in .onnx.* or --format hub"):
        export(run, tmp_path / "pictures-v1.0")
    with pytest.raises(ValueError, match=r"'x.onnx' as 'torch' must end in"):
        export(run, tmp_path / "x.onnx", format="torch")
    assert export(run, tmp_path / "pictures-v1.0", format="hub").path.is_dir()


def test_a_folder_has_no_graph_to_choose(run, tmp_path):
    with pytest.raises(ValueError, match=r"int8 networks are written as .onnx and .xml only"):
        export(run, tmp_path / "folder", int8=True)
    with pytest.raises(ValueError, match="leave network_only out"):
        export(run, tmp_path / "folder", network_only=True)
