"""The text file that the challenge takes."""

import dataclasses
import gzip

import numpy as np
import pytest
from tests.evaluation.test_ensemble import make_predictions
from tests.sources.source_files import tar
from tests.sources.test_ilsvrc import IDS, kit_files

from alexnet.evaluation.submission import write_submission


@pytest.fixture
def three():
    """Predictions of three classes for test images 3, 1 and 2, in this order."""
    likely = [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]
    names = np.array([f"test/ILSVRC2012_test_{i:08d}.JPEG" for i in (3, 1, 2)])
    return dataclasses.replace(make_predictions(likely), names=names, wordnet_ids=IDS)


def test_lines_come_in_the_order_of_the_images_numbers(three, tmp_path):
    message = write_submission(three, tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "1 2 3\n3 2 1\n2 3 1\n"
    assert "3 lines" in message
    assert "NOT as in the development kit" in message


@pytest.mark.parametrize("form", ["folder", "archive", "data"])
def test_with_a_development_kit_the_numbers_are_its_own(three, tmp_path, form):
    for name, content in kit_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    archive = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    paths = {"folder": tmp_path, "archive": archive, "data": tmp_path / "ILSVRC2012_devkit_t12"}
    if form == "archive":
        archive.write_bytes(gzip.compress(tar(kit_files())))
    message = write_submission(three, tmp_path / "x.txt", paths[form])
    assert (tmp_path / "x.txt").read_text() == "2 3 1\n1 3 2\n3 1 2\n"
    assert "the numbers of the development kit" in message


def test_an_image_that_is_missing_still_has_its_line(three, tmp_path):
    names = np.char.replace(three.names, "00000002", "00000005")
    message = write_submission(dataclasses.replace(three, names=names), tmp_path / "x.txt")
    lines = (tmp_path / "x.txt").read_text().splitlines()
    assert len(lines) == 5
    assert (lines[0], lines[2], lines[4]) == ("1 2 3", "2 3 1", "3 2 1")
    assert "Not in the pack, so that a line holds a guess: 2 images" in message


def test_images_without_numbers_stay_in_the_order_of_the_pack(tmp_path):
    write_submission(
        make_predictions([[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]]), tmp_path / "x.txt"
    )
    assert (tmp_path / "x.txt").read_text() == "7 6 5 4 3\n1 2 3 4 5\n"


@pytest.mark.parametrize("number", ["00000000", "99999999", "9" * 30, "٣"])
def test_numbers_that_no_image_of_the_challenge_has_are_none(three, tmp_path, number):
    names = np.array([f"test/x_test_{n}.JPEG" for n in ("00000002", "00000001", number)])
    message = write_submission(dataclasses.replace(three, names=names), tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "2 3 1\n1 2 3\n3 2 1\n"
    assert "guess" not in message


def test_a_kit_of_other_classes_and_a_folder_without_one_are_refused(three, tmp_path):
    with pytest.raises(ValueError, match="has no development kit of ILSVRC"):
        write_submission(three, tmp_path / "x.txt", tmp_path)
    for name, content in kit_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    strange = dataclasses.replace(three, wordnet_ids=("n00000001", *IDS[1:]))
    with pytest.raises(ValueError, match="does not number all the classes"):
        write_submission(strange, tmp_path / "x.txt", tmp_path)
