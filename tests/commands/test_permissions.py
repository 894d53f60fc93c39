"""What the commands write can be read by whom the umask says."""

import os
import sys

import pytest

from alexnet.cli import main

TRAINING = "--recipe cifar --crop 28 --batch-size 16 --epochs 1 --device cpu --quiet"


def call(monkeypatch, *words):
    """Run `alexnet`; it must succeed."""
    monkeypatch.setattr(sys, "argv", ["alexnet", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], indirect=True, ids=oct)
def test_everything_that_is_written_has_the_permissions_of_the_umask(
    umask, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "photos" / "a" / "0.png"
    write_photos(tmp_path / "photos")
    call(monkeypatch, "pack", "photos", "x.pack", "--size", 32)
    call(monkeypatch, "train", "x.pack", "runs/x", *TRAINING.split())
    call(monkeypatch, "evaluate", "runs/x", "--device", "cpu", "--dump", "dump.npz")
    call(monkeypatch, "predict", "runs/x", image, "--sort-into", "sorted", "--figure", "p.png")
    call(monkeypatch, "features", "runs/x", "x.pack", "x.index")
    call(monkeypatch, "export", "runs/x", "x.onnx")
    call(monkeypatch, "export", "runs/x", "hub")
    call(monkeypatch, "figures", "runs/x", "--only", "kernels")
    call(monkeypatch, "report", "runs/x")
    wrong = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777)
        for path in tmp_path.rglob("*")
        if path.stat().st_mode & 0o777 != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert wrong == {}
    assert len(list(tmp_path.rglob("*"))) > 40


def write_photos(folder):
    """Twelve noisy images of each of two classes."""
    import numpy as np
    from PIL import Image

    for label, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            chance = np.random.default_rng([label, number])
            pixels = chance.integers(0, 200 + 50 * label, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
