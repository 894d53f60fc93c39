"""Several processes pack together; real processes, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.packing.packing_sources import contents, files

from alexnet.packing.pack import pack


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
