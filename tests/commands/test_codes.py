"""`alexnet codes` as a user types it."""

import json

import pytest
from tests.search.feature_arrays import draw_features, write_index

from alexnet.cli import main

TRAIN = "--bits", "64", "--steps", "5"


def run(capsys, *arguments):
    """Run the command; return its exit status, stdout and stderr."""
    with pytest.raises(SystemExit) as exit:
        main(["codes", *map(str, arguments)])
    return exit.value.code, *capsys.readouterr()


@pytest.fixture
def index(tmp_path):
    return write_index(tmp_path / "x.index", draw_features()).path


def test_codes_are_made_and_their_worth_is_printed(index, capsys):
    status, printed, _ = run(capsys, index, *TRAIN)
    assert status == 0
    for words in ("400 images", "codes of 64 bits", "recall@10", "codes alone", "re-ranked"):
        assert words in printed
    assert (index / "codes.json").is_file()


def test_measuring_changes_nothing(index, capsys):
    run(capsys, index, *TRAIN)
    before = (index / "codes.json").read_bytes()
    status, printed, _ = run(capsys, index, "--measure", "--json")
    assert status == 0
    content = json.loads(printed)
    assert (content["bits"], content["images"], content["dimensions"]) == (64, 400, 48)
    assert [score["method"] for score in content["scores"]] == ["exact", "codes", "reranked"]
    assert (index / "codes.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--measure"], "has no binary codes. Make them: alexnet codes"),
        (["--bits", "100"], "use a multiple of 64"),
        (["--recall", "2"], "target recall is 2"),
    ],
)
def test_mistakes_are_explained_in_a_line(index, capsys, options, message):
    status, _, complaint = run(capsys, index, *options)
    assert status == 1
    assert message in complaint
    assert complaint.strip().count("\n") == 0


def test_a_folder_that_is_no_index_is_refused(tmp_path, capsys):
    status, _, complaint = run(capsys, tmp_path)
    assert status == 1
    assert "no index at" in complaint
