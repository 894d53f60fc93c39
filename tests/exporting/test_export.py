"""Exported files: written, compared with their network, used."""

import base64
import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.conftest import CLASSES, picture, pictures
from tests.conftest import TRAINED as RECIPE

import alexnet
from alexnet import checkpoint as checkpoints
from alexnet.batches.views import crop_views
from alexnet.evaluation.ensemble import predict_split
from alexnet.exporting import preprocessing_graph, writing
from alexnet.exporting.comparison import ExportMismatch
from alexnet.exporting.export import export
from alexnet.exporting.libraries import get_openvino_core, import_library
from alexnet.images.png import write_png
from alexnet.images.resizing import fit as pixels_to_square
from alexnet.packing.pack import pack
from alexnet.packs.samples import read_samples
from alexnet.training.train import train

EXTENSIONS = ".onnx", ".xml"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The run as both kinds of file, float32 and int8."""
    folder = tmp_path_factory.mktemp("exported")
    names = {
        (extension, int8): f"{'int8' if int8 else 'net'}{extension}"
        for extension in EXTENSIONS
        for int8 in (0, 1)
    }
    return {
        key: export(run, folder / name, int8=bool(key[1]), samples=20, allow=10)
        for key, name in names.items()
    }


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_float_file_gives_the_networks_logits(exported, run, extension):
    found = exported[extension, 0]
    assert (found.images, found.precision) == (32, "float32")
    assert found.difference < 1e-5
    images = [picture(k % 3, 900 + k) for k in range(5)]
    wanted = alexnet.load(run, device="cpu").logits(images)
    np.testing.assert_allclose(alexnet.load(found.path).logits(images), wanted, atol=1e-4)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_int8_file_is_small_and_counted_on_every_validation_image(exported, extension):
    found, whole = exported[extension, 1], exported[extension, 0]
    assert (found.precision, found.images) == ("int8", 60)
    assert found.network.seen == found.file.seen == 60
    assert abs(found.file.wrong1 - found.network.wrong1) <= 6
    weights = ".bin" if extension == ".xml" else extension
    small, large = (x.path.with_suffix(weights).stat().st_size for x in (found, whole))
    assert small < large / 2


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("int8", [0, 1])
def test_a_file_is_a_classifier_by_itself(exported, run, extension, int8):
    classifier = alexnet.load(exported[extension, int8].path)
    assert classifier.classes == CLASSES
    image = picture(1, 77)
    by_run, by_file = (x.predict(image) for x in (alexnet.load(run, device="cpu"), classifier))
    assert by_file.labels[0] == by_run.labels[0] == "stripes"
    assert by_file.probabilities == pytest.approx(by_run.probabilities, abs=0.05)
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


def gather_records(pack):
    """Return all validation records of a pack."""
    return pack.splits["val"].gather(range(len(pack.splits["val"])))


def run_without_this_package(path, name, array):
    """Run a file on an array without this package; return the output and the metadata."""
    if path.suffix == ".onnx":
        session = import_library("onnxruntime").InferenceSession(
            path, providers=["CPUExecutionProvider"]
        )
        text = session.get_modelmeta().custom_metadata_map["alexnet"]
        return session.run(None, {name: array})[0], json.loads(text)
    model = get_openvino_core().read_model(path)
    text = model.get_rt_info(["alexnet"]).astype(str)
    exactly = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = get_openvino_core().compile_model(model, "CPU", exactly)
    return compiled({name: array})[0], json.loads(text)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("int8", [0, 1])
def test_any_program_gets_probabilities_of_records(exported, run, tiny_pack, extension, int8):
    path = exported[extension, int8].path
    found, about = run_without_this_package(path, "records", gather_records(tiny_pack))
    wanted = predict_split(run, tiny_pack.path, device="cpu").probabilities
    np.testing.assert_allclose(found, wanted, atol=0.3 if int8 else 1e-4)
    assert found.sum(1) == pytest.approx(1)
    part = alexnet.load(path).probabilities(list(gather_records(tiny_pack)))
    np.testing.assert_allclose(found, part, atol=1e-3)
    assert about["takes"] == "records"
    assert about["order"] == "RGB"
    assert about["scale"] == 1 / 64
    assert about["input"].startswith("uint8 N 32 32 3: rows from the top")
    assert "triangle filter" in about["resize"]
    assert "the shorter side becomes 32 and the longer one" in about["resize"]
    assert "EXIF orientation" in about["resize"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_with_network_only_a_file_takes_images_and_gives_logits(
    run, tiny_pack, tmp_path, extension
):
    path = export(run, tmp_path / f"net{extension}", network_only=True).path
    classifier = alexnet.load(run, device="cpu")
    records = gather_records(tiny_pack)
    images = crop_views(records, classifier.preprocessing, 1).contiguous().numpy()
    found, about = run_without_this_package(path, "images", images)
    np.testing.assert_allclose(found, classifier.logits(list(records)), atol=1e-4)
    assert about["takes"] == "images"
    assert about["input"].startswith("float32 N 3 28 28")
    its = alexnet.load(path).probabilities(list(records), views=10)
    np.testing.assert_allclose(its, classifier.probabilities(list(records), views=10), atol=1e-4)


def test_the_metadata_suffice_to_prepare_images(run, tiny_pack, tmp_path):
    path = export(run, tmp_path / "net.onnx", network_only=True).path
    records = gather_records(tiny_pack)
    about = run_without_this_package(path, "images", np.zeros((1, 3, 28, 28), np.float32))[1]
    mean = about["preprocessing"]["mean"]
    assert about["mean"].startswith("preprocessing.mean: float32, little-endian, in base64")
    values = np.frombuffer(base64.b64decode(mean["float32"]), "<f4").reshape(mean["shape"])
    images = (records - values)[:, 2:30, 2:30] * np.float32(about["scale"])
    found, _ = run_without_this_package(
        path, "images", np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    )
    wanted = alexnet.load(run, device="cpu").logits(list(records))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(90, 61), (20, 45), (32, 32), (300, 7)])
def test_another_program_can_resize_as_the_metadata_say(fit, shape):
    """What `metadata.FITTING` and `metadata.FILTER` say, as another program would compute it."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    height, width = shape
    side = {"crop": min(shape), "pad": max(shape), "squash": 0}[fit]
    tall, wide = (max(1, int(x * 32 / side + 0.5)) if side else 32 for x in shape)

    def weights(n, m):
        center = (np.arange(m) + 0.5) * n / m
        away = np.abs(np.arange(n) + 0.5 - center[:, None]) / max(1, n / m)
        share = np.maximum(0, 1 - away)
        return share / share.sum(1, keepdims=True)

    whole = np.einsum("yr,rsc,xs->yxc", weights(height, tall), pixels, weights(width, wide))
    square = np.full((32, 32, 3), 128.0)
    if fit == "crop":
        top, left = (tall - 32) // 2, (wide - 32) // 2
        square = whole[top : top + 32, left : left + 32]
    else:
        top, left = (32 - tall) // 2, (32 - wide) // 2
        square[top : top + tall, left : left + wide] = whole
    assert np.abs(pixels_to_square(pixels, 32, fit) - square).max() <= 1


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_files_of_format_1_still_open(run, tmp_path, extension):
    path = export(run, tmp_path / f"net{extension}", network_only=True).path
    about = run_without_this_package(path, "images", np.zeros((1, 3, 28, 28), np.float32))[1]
    earlier = {k: about[k] for k in ("network", "precision", "classes", "wordnet_ids")}
    preprocessing = {k: v for k, v in about["preprocessing"].items() if k != "upright"}
    text = json.dumps({"format": 1, **earlier, "input": "float32", "preprocessing": preprocessing})
    if extension == ".onnx":
        model = import_library("onnx").load(path)
        import_library("onnx.helper").set_model_props(model, {"alexnet": text})
        import_library("onnx").save(model, path)
    else:
        model = get_openvino_core().read_model(path)
        model.set_rt_info(text, ["alexnet"])
        path = tmp_path / "earlier.xml"
        import_library("openvino").save_model(model, path, compress_to_fp16=False)
    classifier = alexnet.load(path)
    assert classifier.preprocessing.upright is False
    image = picture(1, 77)
    ours = alexnet.load(run, device="cpu").logits(image)
    np.testing.assert_allclose(classifier.logits(image), ours, atol=1e-4)


def test_a_file_that_says_it_takes_records_and_does_not_is_refused(run, tmp_path):
    path = export(run, tmp_path / "net.onnx", network_only=True).path
    model = import_library("onnx").load(path)
    text = model.metadata_props[0].value.replace('"takes": "images"', '"takes": "records"')
    import_library("onnx.helper").set_model_props(model, {"alexnet": text})
    import_library("onnx").save(model, path)
    with pytest.raises(ValueError, match="export the network again"):
        alexnet.load(path)


def test_without_its_pack_a_file_is_compared_on_the_images_that_the_run_keeps(
    run, tiny_pack, tmp_path
):
    shutil.copytree(run, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    facts["pack"] = {"path": str(tmp_path / "gone"), "checksum": tiny_pack.checksum}
    (tmp_path / "run" / "environment.json").write_text(json.dumps(facts))
    kept = read_samples(tmp_path / "run")
    assert (kept.split, len(kept.records), len(kept.names)) == ("val", 32, 32)
    assert np.array_equal(kept.records[[0, -1]], gather_records(tiny_pack)[[0, -1]])
    assert kept.labels[-1] == tiny_pack.splits["val"].labels[-1]
    found = export(tmp_path / "run", tmp_path / "net.onnx")
    assert found.source == f"kept in {tmp_path / 'run' / 'samples.safetensors'}, val"
    assert (found.images, found.difference < 1e-5) == (32, True)
    (tmp_path / "run" / "samples.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=r"samples\.safetensors is damaged .* Delete it"):
        export(tmp_path / "run", tmp_path / "net.onnx")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_network_of_yuv_records_takes_rgb_ones_and_does_the_rest(tmp_path, extension):
    packed = pack(pictures(), tmp_path / "pack", pixels="yuv420", processes=1)
    trained = train(packed, tmp_path / "run", RECIPE, device="cpu").run
    found = export(trained, tmp_path / f"net{extension}")
    assert found.difference < 1e-5
    assert found.whole_difference < 1e-5
    images = [picture(k % 3, 900 + k) for k in range(20)]
    wanted = alexnet.load(trained, device="cpu").probabilities(images)
    its = alexnet.load(found.path).probabilities(images)
    np.testing.assert_allclose(its, wanted, atol=1e-4)
    whole, about = run_without_this_package(found.path, "records", np.stack(images))
    np.testing.assert_allclose(whole, wanted, atol=1e-4)
    assert "one byte of luma a pixel" in about["input"]


def test_a_file_that_prepares_images_wrongly_is_not_kept(run, tmp_path, monkeypatch):
    wrong = torch.zeros(28, 28, 3)
    monkeypatch.setattr(preprocessing_graph, "crop_center_mean", lambda _: wrong)
    with pytest.raises(ExportMismatch, match="file's probabilities differ"):
        export(run, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_without_its_pack_a_file_is_compared_on_noise(run, tmp_path):
    (tmp_path / "alone.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    found = export(tmp_path / "alone.safetensors", tmp_path / "net.onnx")
    assert found.source == "random noise"
    assert found.difference < 1e-5
    with pytest.raises(ValueError, match=r"int8 needs images .*--pack PACK"):
        export(tmp_path / "alone.safetensors", tmp_path / "int8.onnx", int8=True)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_with_other_logits_is_not_kept(run, tmp_path, monkeypatch, extension):
    original = writing.build_onnx_model

    def wrong(network, *rest):
        network = copy.deepcopy(network)
        with torch.no_grad():
            network.conv2.weight *= 1.01
        return original(network, *rest)

    out = tmp_path / f"net{extension}"
    out.write_text("an earlier file")
    monkeypatch.setattr(writing, "build_onnx_model", wrong)
    with pytest.raises(ExportMismatch, match=r"logits differ .* no file was kept"):
        export(run, out)
    assert [x.name for x in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "an earlier file"


def test_an_int8_file_that_costs_too_much_is_not_kept(run, tmp_path, monkeypatch):
    def ruined(model, out, samples):
        network = checkpoints.load(checkpoints.find(run)).build_network()
        torch.nn.init.zeros_(network.fc4.weight)
        import_library("onnx").save(writing.build_onnx_model(network, 28), out)

    monkeypatch.setattr(writing, "quantize_onnx", ruined)
    with pytest.raises(ExportMismatch, match=r"int8 costs \d\d\.\d\d points .*--allow"):
        export(run, tmp_path / "net.onnx", int8=True, samples=4)
    assert not list(tmp_path.iterdir())


def test_an_unknown_extension_is_refused_before_anything_is_read(tmp_path):
    wanted = r"'net\.pt' must end in \.onnx, .* in \.xml, .* or in \.pt2"
    with pytest.raises(ValueError, match=wanted):
        export(tmp_path / "no run", tmp_path / "net.pt")


def test_a_missing_library_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        RuntimeError, match=r"onnx is not installed.*pip install 'alexnet\[export\]'"
    ):
        export(run, tmp_path / "net.onnx")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_that_is_no_exported_network_is_refused(tmp_path, extension):
    path = tmp_path / f"net{extension}"
    with pytest.raises(FileNotFoundError, match="Make one: alexnet export RUN"):
        alexnet.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a whole"):
        alexnet.load(path)


def test_a_file_of_another_program_is_refused(tmp_path):
    network = alexnet.NETS["cifar"].build().eval()
    import_library("onnx").save(writing.build_onnx_model(network, 32), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="was not made by `alexnet export`"):
        alexnet.load(tmp_path / "other.onnx")


def test_a_file_runs_on_the_cpu_only(exported):
    with pytest.raises(ValueError, match="runs on the CPU, not on 'cuda'"):
        alexnet.load(exported[".onnx", 0].path, device="cuda")


def test_openvino_sends_no_telemetry(exported):
    assert sys.modules["openvino_telemetry"] is None


SIGNALED = """
import gc, os, signal, sys
import alexnet
for _ in range(2):
    first, second = (alexnet.load(sys.argv[1], device="cpu") for _ in range(2))
    del first
    gc.collect()
    del second
    gc.collect()
signals = []
signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(signals != [signal.SIGTERM])
"""


def test_a_process_that_has_closed_openvino_files_can_still_handle_signals(run, tmp_path):
    file = export(run, tmp_path / "x.xml").path
    done = subprocess.run([sys.executable, "-c", SIGNALED, str(file)], capture_output=True)
    assert done.returncode == 0, done.stderr
