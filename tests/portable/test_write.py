"""Portable files: written, compared, used."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.conftest import CLASSES, picture

import alexnet
from alexnet.data.decode import write_png
from alexnet.learn import checkpoint as checkpoints
from alexnet.portable import write
from alexnet.portable.libraries import library
from alexnet.portable.write import Disagrees, export

ENDINGS = ".onnx", ".xml"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The run as both kinds of file, float32 and int8."""
    folder = tmp_path_factory.mktemp("exported")
    names = {
        (ending, int8): f"{'int8' if int8 else 'net'}{ending}"
        for ending in ENDINGS
        for int8 in (0, 1)
    }
    return {
        key: export(run, folder / name, int8=bool(key[1]), samples=20, allow=10)
        for key, name in names.items()
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_float_file_gives_the_networks_logits(exported, run, ending):
    found = exported[ending, 0]
    assert (found.images, found.precision) == (32, "float32")
    assert found.difference < 1e-5
    images = [picture(k % 3, 900 + k) for k in range(5)]
    ours = alexnet.load(run, device="cpu").logits(images)
    np.testing.assert_allclose(alexnet.load(found.path).logits(images), ours, atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_int8_file_is_small_and_counted_on_every_validation_image(exported, ending):
    found, whole = exported[ending, 1], exported[ending, 0]
    assert (found.precision, found.images) == ("int8", 60)
    assert found.network.seen == found.file.seen == 60
    assert abs(found.file.wrong1 - found.network.wrong1) <= 6
    weights = ".bin" if ending == ".xml" else ending
    small, large = (x.path.with_suffix(weights).stat().st_size for x in (found, whole))
    assert small < large / 2


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("int8", [0, 1])
def test_a_file_is_a_classifier_by_itself(exported, run, ending, int8):
    classifier = alexnet.load(exported[ending, int8].path)
    assert classifier.classes == CLASSES
    image = picture(1, 77)
    ours, its = (x.predict(image) for x in (alexnet.load(run, device="cpu"), classifier))
    assert its.labels[0] == ours.labels[0] == "stripes"
    assert its.probabilities == pytest.approx(ours.probabilities, abs=0.05)
    ten = classifier.probabilities([image] * 3, views=10)
    assert ten.sum(1) == pytest.approx(1)
    with pytest.raises(ValueError, match="no layer 'fc4'; it has logits"):
        classifier.features(image, "fc4")


def test_the_command_exports_and_predicts(run, tiny_pack, tmp_path):
    out = tmp_path / "new" / "net.onnx"
    words = [sys.executable, "-m", "alexnet"]
    done = subprocess.run([*words, "export", run, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "float32, 0." in done.stdout
    assert f"{tiny_pack.path}, val" in done.stdout
    write_png(tmp_path / "x.png", picture(1, 77))
    done = subprocess.run(
        [*words, "predict", out, tmp_path / "x.png"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "stripes" in done.stdout


def test_without_its_pack_a_file_is_compared_on_noise(run, tmp_path):
    (tmp_path / "alone.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    found = export(tmp_path / "alone.safetensors", tmp_path / "net.onnx")
    assert found.source == "random noise"
    assert found.difference < 1e-5
    with pytest.raises(ValueError, match=r"int8 needs images .*--pack PACK"):
        export(tmp_path / "alone.safetensors", tmp_path / "int8.onnx", int8=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_disagrees_is_not_kept(run, tmp_path, monkeypatch, ending):
    original = write.onnx_model

    def wrong(network, *rest):
        network = copy.deepcopy(network)
        with torch.no_grad():
            network.conv2.weight *= 1.01
        return original(network, *rest)

    out = tmp_path / f"net{ending}"
    out.write_text("an earlier file")
    monkeypatch.setattr(write, "onnx_model", wrong)
    with pytest.raises(Disagrees, match=r"logits differ .* no file was kept"):
        export(run, out)
    assert [x.name for x in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "an earlier file"


def test_an_int8_file_that_costs_too_much_is_not_kept(run, tmp_path, monkeypatch):
    def ruined(model, out, samples):
        network = checkpoints.load(checkpoints.find(run)).network()
        torch.nn.init.zeros_(network.fc4.weight)
        card = library("onnx").load(model).metadata_props[0].value
        library("onnx").save(write.onnx_model(network, 28, {write.KEY: card}), out)

    monkeypatch.setattr(write.quantize, "onnx_int8", ruined)
    with pytest.raises(Disagrees, match=r"int8 costs \d\d\.\d\d points .*--allow"):
        export(run, tmp_path / "net.onnx", int8=True, samples=4)
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"'net\.pt' must end in \.onnx, .* or in \.xml"):
        export(tmp_path / "no run", tmp_path / "net.pt")


def test_a_missing_library_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        RuntimeError, match=r"onnx is not installed.*pip install 'alexnet\[export\]'"
    ):
        export(run, tmp_path / "net.onnx")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_exported_network_is_refused(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    with pytest.raises(FileNotFoundError, match="Make one: alexnet export RUN"):
        alexnet.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a whole"):
        alexnet.load(path)


def test_a_file_of_another_program_is_refused(tmp_path):
    network = alexnet.NETS["cifar"].build().eval()
    library("onnx").save(write.onnx_model(network, 32), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="was not made by `alexnet export`"):
        alexnet.load(tmp_path / "other.onnx")


def test_a_file_runs_on_the_cpu_only(exported):
    with pytest.raises(ValueError, match="runs on the CPU, not on 'cuda'"):
        alexnet.load(exported[".onnx", 0].path, device="cuda")


def test_nothing_is_reported_to_anyone(exported):
    assert sys.modules["openvino_telemetry"] is None
