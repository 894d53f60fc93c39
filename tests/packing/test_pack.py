"""Packing: complete, exact, and the same whatever happens on the way."""

import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.packing.packing_sources import arrays, contents, files, pixels, png, source

from alexnet.packing.automatic import pack_next_to_run
from alexnet.packing.pack import pack, pack_images
from alexnet.packing.progress import count_items
from alexnet.packing.resume import OtherPack
from alexnet.packs.pack import open_pack
from alexnet.packs.summary import describe_pack, draw_contact_sheet, summarize_pack
from alexnet.packs.verification import verify
from alexnet.sources.entry import Entry, Source, Span
from alexnet.sources.recognition import open_source

ROOT = Path(__file__).parents[2]


def write_photos(folder, names) -> Path:
    """PNG files of 12×10 pixels, each named `names`."""
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels(zlib.crc32(name.encode()), 12, 10)))
    return folder


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def photos(tmp_path):
    """40 files, one of them no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return files(folder)


def test_every_item_is_used_or_listed_with_its_reason(photos, tmp_path):
    made = pack(photos, tmp_path / "pack", processes=1)
    assert [len(split) for split in made.splits.values()] == [29, 10]
    (skipped,) = lines(tmp_path / "pack" / "skipped.jsonl")
    assert (skipped["split"], skipped["path"]) == ("train", "003.png")
    assert (skipped["reason"], bool(skipped["detail"])) == ("truncated", True)
    assert made.metadata["splits"]["train"]["skipped"] == {"truncated": 1}
    assert "003.png" not in made.splits["train"].names


def test_the_number_of_processes_changes_nothing(photos, tmp_path):
    for processes in (1, 2):
        pack(photos, tmp_path / f"{processes}", processes=processes, shard_images=7)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_mean_and_the_components_are_those_of_the_training_pixels(tmp_path):
    made = pack(arrays(30), tmp_path / "pack", shard_images=7)
    train = made.splits["train"].gather(range(30)).astype(np.float64)
    assert np.abs(made.mean - train.mean(0)).max() < 1e-4
    covariance = np.cov(train.reshape(-1, 3).T, bias=True)
    again = made.components @ np.diag(made.deviations**2) @ made.components.T
    assert np.abs(again - covariance).max() < 1e-8
    assert (np.diff(made.deviations) >= 0).all()
    assert (made.components[np.abs(made.components).argmax(0), range(3)] > 0).all()


def test_yuv420_packs_half_the_bytes_and_nearly_the_same_mean(photos, tmp_path):
    rgb, yuv = (pack(photos, tmp_path / p, pixels=p, processes=1) for p in ("rgb", "yuv420"))
    assert yuv.splits["train"].gather([0]).shape == (1, 96)
    blocks = [made.mean.reshape(4, 2, 4, 2, 3).mean((1, 3)) for made in (rgb, yuv)]
    assert np.abs(blocks[0] - blocks[1]).max() < 0.8
    assert np.array_equal(rgb.components, yuv.components)


def test_a_packing_killed_at_any_moment_resumes_to_the_same_bytes(photos, tmp_path):
    code = (
        "import sys; from pathlib import Path; from alexnet.packing.pack import pack;"
        "from tests.packing.packing_sources import files;"
        "pack(files(Path(sys.argv[1])), sys.argv[2], processes=2, shard_images=3,"
        "     progress=lambda at: print(at.done, flush=True))"
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(photos.path), str(out)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    child.stdout.readline()  # the first shards are being written
    child.send_signal(signal.SIGKILL)
    child.communicate()
    pack(photos, out, processes=1, shard_images=3)
    pack(photos, tmp_path / "whole", processes=1, shard_images=3)
    assert contents(out) == contents(tmp_path / "whole")


class PowerCut(Exception):  # noqa: N818 - it is no error of the program
    """Ends a packing early."""


def interrupt(packed, out, **options):
    """Pack about half of a source."""
    calls = []

    def stop(at):
        calls.append(at)
        if at.split == "val":
            raise PowerCut

    with pytest.raises(PowerCut):
        pack(packed, out, progress=stop, **options)


def test_a_source_may_change_after_an_interruption(photos, tmp_path):
    interrupt(photos, tmp_path / "pack", processes=1, shard_images=7)
    os.utime(photos.path / "005.png", (1, 1))
    with pytest.raises(FileNotFoundError, match="packing has not finished"):
        open_pack(tmp_path / "pack")
    photos_now = files(photos.path)
    journal = json.loads((tmp_path / "pack" / "packing.json").read_text())
    del journal["metadata_sha256"]
    for state in journal["splits"].values():
        state["done"] = False
    (tmp_path / "pack" / "packing.json").write_text(json.dumps(journal))
    made = pack(photos_now, tmp_path / "pack", processes=1, shard_images=7)
    assert made.checksum == pack(photos_now, tmp_path / "new", processes=1, shard_images=7).checksum


def test_a_finished_pack_is_opened_at_once_unless_something_differs(photos, tmp_path):
    first = pack(photos, tmp_path / "pack", processes=1)
    before = contents(tmp_path / "pack")
    assert pack(photos, tmp_path / "pack").checksum == first.checksum
    assert contents(tmp_path / "pack") == before
    with pytest.raises(ValueError, match=r"other settings.*size 8, not 4"):
        pack(photos, tmp_path / "pack", size=4)
    (photos.path / "005.png").write_bytes(png(pixels(99)))
    assert pack(photos, tmp_path / "pack").checksum != first.checksum


def test_another_choice_of_validation_images_is_another_pack(tmp_path):
    first = open_source("digits", seed=0)
    pack(first, tmp_path / "pack", processes=1)
    with pytest.raises(OtherPack, match=r"other settings \(division .*'seed': 0.*'seed': 1"):
        pack(open_source("digits", seed=1), tmp_path / "pack")


def without_division(path):
    """Turn a pack, finished or begun, into one of an earlier version."""
    facts = json.loads(path.read_text())
    del facts["metadata_sha256"]
    about = facts.get("about", facts)
    del about["division"]
    about["source"]["path"] = os.path.relpath(about["source"]["path"])
    about["remarks"] = ["Other words."]
    path.write_text(json.dumps(facts))


def test_packs_of_earlier_versions_open_and_are_reused(tmp_path):
    folder = write_photos(
        tmp_path / "divided", [f"{s}/{c}/1" for s in ("train", "val") for c in "ab"]
    )
    first = pack(open_source(folder), tmp_path / "pack", size=8, processes=1)
    without_division(tmp_path / "pack" / "pack.json")
    again = pack(open_source(folder), tmp_path / "pack", size=8, processes=1)
    assert open_pack(tmp_path / "pack").checksum == again.checksum == first.checksum


def test_a_pack_with_the_holdout_of_an_earlier_version_opens_and_is_updated(tmp_path):
    folder = write_photos(tmp_path / "photos", [f"{c}/{i}" for c in "ab" for i in range(3)])
    pack(open_source(folder), tmp_path / "pack", size=8, processes=1)
    without_division(tmp_path / "pack" / "pack.json")
    assert len(open_pack(tmp_path / "pack").splits["val"]) == 2
    made = pack(open_source(folder), tmp_path / "pack", size=8, processes=1)
    assert made.metadata["division"]["rule"] == "of each class"


def test_a_packing_that_an_earlier_version_began_resumes_or_begins_anew(tmp_path):
    flat = write_photos(tmp_path / "flat", [f"{c}/{i}" for c in "ab" for i in range(3)])
    split = write_photos(tmp_path / "split", [f"{s}/{c}/1" for s in ("train", "val") for c in "ab"])
    for folder in (flat, split):
        out = tmp_path / f"{folder.name}.pack"
        interrupt(open_source(folder), out, size=8, processes=1, shard_images=1)
        without_division(out / "packing.json")
    made = pack(open_source(flat), tmp_path / "flat.pack", size=8, processes=1, shard_images=1)
    assert made.metadata["division"]["rule"] == "of each class"
    made = pack(open_source(split), tmp_path / "split.pack", size=8, processes=1, shard_images=1)
    assert made.splits["val"].labels.tolist() == [0, 1]


def test_automatic_packs_of_other_settings_get_names_of_their_own(tmp_path):
    folder = write_photos(tmp_path / "photos", [f"{c}/{i}" for c in "ab" for i in range(3)])
    run, said = tmp_path / "runs" / "one", []

    def pack_again(**options):
        return pack_next_to_run(
            open_source(folder), run, "photos", said.append, processes=1, **options
        )

    assert pack_again(size=8).path == tmp_path / "runs" / "photos.pack"
    assert pack_again(size=8).path == tmp_path / "runs" / "photos.pack"
    assert said == []
    assert pack_again(size=16, fit="pad").path == tmp_path / "runs" / "photos-16-pad.pack"
    assert pack_again(size=16, fit="pad").path == tmp_path / "runs" / "photos-16-pad.pack"
    assert "size 8, not 16" in said[0]
    write_photos(folder, ["b/9"])
    assert pack_again(size=8).path == tmp_path / "runs" / "photos.pack"
    assert "has changed since" in said[-2]
    assert not run.exists()
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_pack_is_never_put_among_the_images(tmp_path, monkeypatch):
    folder = write_photos(tmp_path / "photos", [f"{c}/{i}" for c in "ab" for i in range(3)])
    monkeypatch.chdir(tmp_path)
    made = pack_next_to_run(open_source(folder), folder / "run", "photos", size=8, processes=1)
    assert made.path == Path("packs/photos.pack")
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="is inside"):
        pack_next_to_run(open_source("."), folder / "run", "photos", size=8, processes=1)
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_invalid_arguments_are_refused_before_packing(photos, tmp_path):
    with pytest.raises(ValueError, match="even size"):
        pack(photos, tmp_path / "pack", size=7, pixels="yuv420")
    with pytest.raises(ValueError, match="crop, pad, squash"):
        pack(photos, tmp_path / "pack", fit="cut")
    with pytest.raises(ValueError, match="size is -1"):
        pack(photos, tmp_path / "pack", size=-1)
    with pytest.raises(ValueError, match="inside"):
        pack(photos, photos.path / "pack")
    with pytest.raises(ValueError, match="timeout is nan"):
        pack(photos, tmp_path / "pack", timeout=float("nan"))
    with pytest.raises(ValueError, match="from 1 to 8,192"):
        pack(photos, tmp_path / "pack", size=100_000)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file: name another path"):
        pack(photos, tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="cannot be in it"):
        pack(photos, tmp_path / "file" / "pack")
    with pytest.raises(ValueError, match="not empty"):
        pack(source("elsewhere", {"train": []}), photos.path)
    assert not (tmp_path / "pack").exists()


def test_a_source_without_one_usable_image_is_an_error(tmp_path):
    nothing = source("x", {"train": [Entry("train", "a", 0, b"")]})
    with pytest.raises(ValueError, match=r"not one image in train .*\(1 empty\)"):
        pack(nothing, tmp_path / "pack", processes=1)


def test_two_processes_cannot_pack_into_one_folder(photos, tmp_path):
    def again(_):
        with pytest.raises(BlockingIOError, match="another process is packing"):
            pack(photos, tmp_path / "pack")
        raise PowerCut

    with pytest.raises(PowerCut):
        pack(photos, tmp_path / "pack", processes=1, progress=again)


def test_a_full_disk_is_reported_and_a_second_call_resumes(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"no space for .*continues where it stopped"):
            pack(arrays(40), tmp_path / "full", shard_images=30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    pack(arrays(40), tmp_path / "full", shard_images=30)
    pack(arrays(40), tmp_path / "whole", shard_images=30)
    assert contents(tmp_path / "full") == contents(tmp_path / "whole")


def test_images_in_two_splits_are_listed_and_kept(tmp_path):
    items = {
        "train": [Entry("train", f"t{i}", 0, pixels(i)) for i in range(5)],
        "val": [Entry("val", f"v{i}", 0, pixels(i)) for i in (7, 3, 8)],
    }
    made = pack(source("x", items), tmp_path / "pack")
    assert len(made.splits["val"]) == 3
    assert made.metadata["duplicates"] == 1
    assert lines(tmp_path / "pack" / "duplicates.jsonl") == [
        {"split": "val", "path": "v3", "same_split": "train", "same_path": "t3"}
    ]


def test_unusual_images_are_counted(tmp_path):
    items = {"train": [Entry("train", "a.jpg", 0, png(pixels(1)))]}
    made = pack(source("x", items), tmp_path / "pack", processes=1)
    assert made.metadata["splits"]["train"]["notes"] == {"format_mismatch": 1}


def test_progress_has_the_items_done_and_the_time_left(photos, tmp_path):
    seen = []
    pack(photos, tmp_path / "pack", processes=1, progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].skipped) == (40, 40, 1)
    assert seen[-1].seconds_left == 0
    assert seen[-1].images_per_second > 0


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    def stream(count):
        return lambda split: (Entry(split, f"{i}", 0, pixels(i)) for i in range(count))

    peaks = []
    for count in (50, 300, 3000):
        many = Source("x", Path("x"), ("a",), None, ("train",), (), 8, stream(count))
        tracemalloc.start()
        pack(many, tmp_path / f"{count}", shard_images=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 100_000


def test_archives_are_not_read_for_counting(photos):
    assert count_items(photos) == 40
    assert count_items(source("x", {"train": [Entry("train", "a", 0, b"")]})) is None


def test_the_time_left_for_an_archive_is_estimated_from_its_length(tmp_path):
    archive, image = tmp_path / "archive", png(pixels(1))
    archive.write_bytes(image * 50)
    spans = [Span(archive, i * len(image), len(image)) for i in range(50)]
    seen = []
    packed = source(archive, {"train": [Entry("train", str(i), 0, s) for i, s in enumerate(spans)]})
    pack(packed, tmp_path / "pack", processes=1, progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].seconds_left) == (50, None, 0)


def test_pack_images_packs_a_folder(tmp_path):
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(png(pixels(len(label + split))))
    made = pack_images(tmp_path / "images", tmp_path / "pack", size=8, processes=1)
    assert made.classes == ("cat", "dog")
    assert made.splits["val"].labels.tolist() == [0, 1]


def test_a_pack_is_described_in_words_and_drawn_on_a_contact_sheet(photos, tmp_path):
    made = pack(photos, tmp_path / "pack", processes=1, pixels="yuv420")
    verify(made)
    assert "29 train and 10 val images of 2 classes, 8×8 yuv420" in summarize_pack(made)
    assert "not used: 1 truncated" in summarize_pack(made)
    assert made.checksum in describe_pack(made)
    draw_contact_sheet(made, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
