"""Several processes pack together; real processes, without torch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.packing.packing_sources import contents, files, pixels, png

from alexnet.packing.pack import pack
from alexnet.sources import open_source


def pack_together(folder: Path, size: int, action: str = "") -> list[tuple[int, str]]:
    """Pack the photos of a folder with so many processes; the status and messages of each."""
    meeting = folder / f"meeting-{size}-{len(list(folder.iterdir()))}"
    meeting.mkdir()
    command = [sys.executable, "-m", "tests.packing.packer", str(meeting)]
    job = [
        subprocess.Popen(
            [*command, str(folder / "photos"), str(folder / "shared.pack"), action],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    return [(process.wait(), process.communicate()[1]) for process in job]


def find_port() -> str:
    """A port that is free now."""
    with socket.create_server(("localhost", 0)) as taken:
        return str(taken.getsockname()[1])


def start_node(images: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start torchrun, which packs."""
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    command += ["-m", "alexnet", "pack", str(images), str(out), "--size", "8"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ALEXNET_WATCH_SECONDS": "120"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def write_classes(folder: Path) -> Path:
    """Photos in folders of two classes, more than a block of them."""
    for number in range(100):
        path = folder / "photos" / ("cats" if number % 2 else "dogs") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels(number, 12, 10)))
    return folder / "photos"


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, bytes]:
    """The files of the pack of one process."""
    (tmp_path / "photos" / "other").mkdir(parents=True)
    source = files(tmp_path / "photos", 200, 100)
    pack(source, tmp_path / "alone.pack", size=8, shard_images=20, processes=1)
    return contents(tmp_path / "alone.pack")


@pytest.mark.parametrize("size", [2, 4])
def test_several_processes_make_the_pack_of_one(
    tmp_path: Path, alone: dict[str, bytes], size: int
) -> None:
    assert pack_together(tmp_path, size) == [(0, "")] * size
    assert contents(tmp_path / "shared.pack") == alone


@pytest.mark.parametrize("killed", [0, 1])
def test_a_packing_with_a_killed_process_is_continued_by_another_number(
    tmp_path: Path, alone: dict[str, bytes], killed: int
) -> None:
    states = pack_together(tmp_path, 2, f"kill {killed}")
    assert states[killed][0] == -9
    status, message = states[1 - killed]
    assert status == 1
    assert f"rank {killed} ended before the pack was finished" in message
    assert (tmp_path / "shared.pack" / "packing.json").exists()
    assert pack_together(tmp_path, 3) == [(0, "")] * 3
    assert contents(tmp_path / "shared.pack") == alone


def test_a_process_that_has_other_images_is_named(tmp_path: Path, alone: dict[str, bytes]) -> None:
    (tmp_path / "photos" / "other").rmdir()
    (tmp_path / "photos" / "other").mkdir()
    names = [f"{number:03}.png" for number in range(300)]
    for name in names:
        content = (tmp_path / "photos" / name).read_bytes()
        longer = content + b"more" if name == "050.png" else content
        (tmp_path / "photos" / "other" / name).write_bytes(longer)
    (first, message), _ = pack_together(tmp_path, 2, "other 1")
    assert first == 1
    assert "050.png has" in message
    assert "copy the same images to every machine" in message


def test_torchrun_packs_with_all_processes(tmp_path: Path) -> None:
    images = write_classes(tmp_path)
    pack(open_source(images), tmp_path / "alone.pack", size=8)
    run = start_node(images, tmp_path / "two.pack", "--standalone", "--nproc-per-node", "2")
    _, messages = run.communicate()
    assert run.returncode == 0, messages
    assert messages.count("folder, 2 classes") == 1  # one process says what it has packed
    assert contents(tmp_path / "two.pack") == contents(tmp_path / "alone.pack")


def test_two_nodes_pack_together(tmp_path: Path) -> None:
    images = write_classes(tmp_path)
    pack(open_source(images), tmp_path / "alone.pack", size=8)
    common = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    common += ["--master-port", find_port()]
    nodes = [
        start_node(
            images, tmp_path / "two.pack", *common, "--node-rank", str(rank), "--local-addr", own
        )
        for rank, own in enumerate(("127.0.0.1", "127.0.0.2"))
    ]
    ends = [(node.communicate()[1], node.returncode) for node in nodes]
    assert [status for _, status in ends] == [0, 0], ends
    assert contents(tmp_path / "two.pack") == contents(tmp_path / "alone.pack")


def test_variables_of_torchrun_that_are_missing_are_named() -> None:
    environment = os.environ | {"WORLD_SIZE": "2", "RANK": "0"}
    command = [sys.executable, "-m", "alexnet", "pack", "digits"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "WORLD_SIZE is 2, but MASTER_ADDR, MASTER_PORT are not set" in done.stderr
