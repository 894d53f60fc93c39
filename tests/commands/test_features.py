"""`alexnet features` as a user types it."""

import subprocess
import sys

from alexnet.commands.features import Features
from alexnet.search.index import open_index


def test_features_writes_an_index_and_prints_the_next_command(run, tiny_pack, tmp_path):
    words = ["features", run, tiny_pack.path, tmp_path / "x", "--device", "cpu", "--verify"]
    command = [sys.executable, "-m", "alexnet", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "210 images (150 train, 60 val), 576 features each of pool3, float16" in done.stdout
    assert f"alexnet similar {run} {tmp_path / 'x'} IMAGE" in done.stdout
    assert "features  128/210 images" in done.stderr
    assert "All checksums agree" in done.stderr
    assert len(open_index(tmp_path / "x")) == 210


def test_images_that_are_not_packed_yet_are_packed_with_a_summary(run, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "dog").mkdir()
    for name in "cat", "dog":
        Image.new("RGB", (40, 50), "red").save(tmp_path / "photos" / name / "1.png")
    command = Features(run, str(tmp_path / "photos"), tmp_path / "x", layer="conv1", device="cpu")
    assert command.run() == 0
    output = capsys.readouterr()
    assert "2 images (2 train), 25,088 features each of conv1" in output.out
    assert "2 classes" in output.err
