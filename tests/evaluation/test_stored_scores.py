"""Scores read back from the files that `alexnet evaluate` writes."""

import json

import pytest

from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.evaluation.stored_scores import read_all_scores, read_scores


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    """Scores as measured, and the file that they were written to."""
    scores = evaluate_run(run, device="cpu")
    path = tmp_path_factory.mktemp("scores") / choose_scores_path(scores).name
    write_scores(scores, path)
    return scores, path


def test_scores_are_read_as_they_were_measured(written):
    scores, path = written
    found = read_scores(path)
    assert (found.seen, found.wrong1, found.wrong5) == (60, scores.counts.wrong1, 0)
    assert found.counts.top1_error == scores.counts.top1
    assert list(found.per_class) == list(scores.classes)
    assert found.checkpoint.sha256 == scores.members[0].sha256
    assert found.pack.checksum == scores.pack_checksum
    assert found.file == path


def test_entries_of_later_versions_are_left_out(written, tmp_path):
    content = json.loads(written[1].read_text())
    content |= {"novelty": 1}
    content["checkpoint"]["novelty"] = 2
    (tmp_path / "scores.json").write_text(json.dumps(content))
    assert read_scores(tmp_path / "scores.json").seen == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wrong1": 61}, "`wrong1` is 61"),
        ({"seen": -1}, "seen is -1"),
        ({"seen": 0, "wrong1": 0, "per_class": {}}, "no image was measured"),
        ({"loss": "small"}, 'loss is "small"'),
        ({"per_class": {"x": {"seen": 1, "wrong1": 2, "wrong5": 0}}}, "of 1 images, 2 are wrong"),
        ({"pack": None}, "pack is null"),
    ],
)
def test_a_file_that_no_evaluation_wrote_is_refused(written, tmp_path, change, message):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(json.loads(written[1].read_text()) | change))
    with pytest.raises(ValueError, match=message):
        read_scores(path)


def test_a_damaged_file_costs_only_itself(written, tmp_path):
    (tmp_path / "scores-val-10-views.json").write_bytes(written[1].read_bytes())
    (tmp_path / "scores-a.json").write_text("[]")
    (tmp_path / "scores.json").write_bytes(written[1].read_bytes())
    scores, problems = read_all_scores(tmp_path)
    assert [x.file.name for x in scores] == ["scores.json", "scores-val-10-views.json"]
    assert len(problems) == 1
    assert "scores-a.json holds no scores" in problems[0]
