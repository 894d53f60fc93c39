"""The report: complete, self-contained, and safe whatever the names of classes and files are."""

import base64
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image
from tests.conftest import CLASSES, TRAINED, picture, pictures

import alexnet
from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.packing.pack import pack
from alexnet.show.report import render_report, write_report
from alexnet.show.report_figures import EmbeddedFigure
from alexnet.show.run_facts import MOST_LINES, read_run_facts
from alexnet.training.train import train

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>&amp;",
    "red\x1b[2J\u202egnol\x00 {{ 7 * 7 }} {% raw %}",
)
VOID = {"meta", "img", "br", "link", "input", "rect"}


class Page(HTMLParser):
    """What is in an HTML page: its tags with their attributes, and its text."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        """All text, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        """The attributes of every tag of this name."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """A copy of the run with scores of one and of five views."""
    copy = tmp_path_factory.mktemp("measured") / "pictures"
    shutil.copytree(run, copy)
    for views in (1, 5):
        scores = evaluate_run(copy, views=views, device="cpu")
        write_scores(scores, choose_scores_path(scores))
    return copy


@pytest.fixture(scope="module")
def page(measured):
    """The report on it, with all figures."""
    path = write_report(measured, device="cpu")
    assert path == measured / "report.html"
    return Page(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run on classes with hostile names, in a folder with such a name, with scores."""
    folder = tmp_path_factory.mktemp("hostile") / "<b>run\u202e\x1b"
    made = pack(pictures(8, 3, classes=HOSTILE), folder / "x.pack", processes=1)
    train(made, folder / "run", TRAINED, device="cpu", log_seconds=60)
    scores = evaluate_run(folder / "run", device="cpu")
    write_scores(scores, choose_scores_path(scores))
    line = {"split": "train", "path": HOSTILE[0], "reason": "truncated", "detail": HOSTILE[2]}
    (made.path / "skipped.jsonl").write_text(json.dumps(line) + "\n")
    same = {"split": "val", "path": HOSTILE[1], "same_split": "train", "same_path": HOSTILE[2]}
    (made.path / "duplicates.jsonl").write_text(json.dumps(same) + "\n")
    return folder / "run"


def render(run):
    """Return the page of a run without figures, which are slow."""
    return render_report(read_run_facts(run))


def check_self_contained(content):
    """Check that a page loads and runs nothing."""
    page = Page(content)
    assert {"script", "iframe", "object", "embed", "form", "base", "link"}.isdisjoint(
        name for name, _ in page.tags
    )
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    assert set(re.findall(r"url\(|@import|https?://", content)) == set()
    assert not [c for c in content if not c.isprintable() and c not in "\n\N{NO-BREAK SPACE}"]
    return page


def test_a_report_says_what_was_trained_on_what_and_how_well(page, measured, tiny_pack):
    scores = json.loads((measured / "scores-val-5-views.json").read_text())
    for text in (
        "A network 'cifar', trained on 150 images of 3 classes for 4 of 4 epochs.",
        f"{100 * scores['top1_error']:.2f} %",
        "5 views, 60 validation images",
        "learning_rate 0.02 0.01",
        str(tiny_pack.path),
        "train images 150",
        tiny_pack.checksum,
        "Every file of the source was used.",
        "No image is in two splits.",
        hashlib.sha256((measured / "best.safetensors").read_bytes()).hexdigest(),
    ):
        assert text in page.text
    for name in CLASSES:
        assert page.words.count(name) >= 2
    assert {"results", "figures", "training", "images", "card", "repeat", "machine"} <= {
        attributes.get("id") for attributes in page.all("h2")
    }


def test_a_report_is_self_contained_and_its_policy_allows_its_style_only(measured, page):
    content = (measured / "report.html").read_text("utf-8")
    check_self_contained(content)
    (style,) = re.findall(r"<style>(.*?)</style>", content, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")


def test_a_report_is_accessible(page):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert all(following <= level + 1 for level, following in itertools.pairwise(levels))
    assert all(attributes["scope"] in ("row", "col") for attributes in page.all("th"))
    assert len(page.all("table")) == len(page.all("caption"))
    images = page.all("img")
    assert len(images) >= 8
    assert all(len(attributes["alt"]) > 30 and attributes["width"] for attributes in images)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for attributes in page.all("a")} <= ids


def test_figures_are_inlined_whole(page):
    kinds = {attributes["src"].split(",")[0] for attributes in page.all("img")}
    assert kinds == {"data:image/png;base64", "data:image/svg+xml;base64"}
    for attributes in page.all("img"):
        content = base64.b64decode(attributes["src"].split(",")[1], validate=True)
        assert content.startswith(b"\x89PNG") or b"<svg" in content[:2000]


def test_hostile_names_are_text_and_nothing_else(hostile):
    content = render(hostile)
    page = check_self_contained(content)
    assert page.all("img") == []
    assert "<script" not in content
    assert "<b>" not in content
    assert page.words.count(HOSTILE[0]) >= 3  # scores, classes and the skipped file
    assert page.words.count(HOSTILE[1]) >= 3
    assert r"red\x1b[2J\u202egnol\x00 {{ 7 * 7 }} {% raw %}" in page.words
    assert "truncated" in page.text


def test_the_same_files_give_the_same_bytes(measured):
    assert render(measured) == render(measured)


def test_a_figure_that_was_not_drawn_is_named_with_the_reason(measured):
    figure = EmbeddedFigure("What decided", "Where.", skipped="there are <no> images")
    page = Page(render_report(read_run_facts(measured), [figure]))
    assert "Not drawn: there are <no> images" in page.text


def test_skipped_files_are_listed_with_their_reasons(tmp_path):
    for label, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            image = Image.fromarray(picture(label, number))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    whole = (tmp_path / "photos" / "rings" / "0.png").read_bytes()
    broken = tmp_path / "photos" / "rings" / "<i>\u202ebroken\n.png"
    broken.write_bytes(whole[:300])
    (tmp_path / "photos" / "spots" / "copy.png").write_bytes(whole)
    made = alexnet.pack(tmp_path / "photos", tmp_path / "x.pack", size=32, val_fraction=0.25)
    train(made, tmp_path / "run", TRAINED, device="cpu", log_seconds=60)
    page = check_self_contained(render(tmp_path / "run"))
    assert r"rings/<i>\u202ebroken\x0a.png".replace(r"\x0a", r"\n") in page.words
    assert "Files that were not used: 1" in page.text
    assert "--val-fraction 0.25 --seed 0" in page.text


def test_long_lists_are_cut_and_say_so(hostile, tmp_path):
    facts = read_run_facts(hostile)
    lines = [
        {"split": "train", "path": f"{i}.jpg", "reason": "empty", "detail": ""} for i in range(300)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    skipped = facts.pack.pack.path / "skipped.jsonl"
    before = skipped.read_text()
    skipped.write_text(text)
    try:
        assert len(read_run_facts(hostile).pack.skipped) == MOST_LINES
    finally:
        skipped.write_text(before)


def test_what_is_missing_or_damaged_is_named_and_costs_only_its_part(measured, tmp_path):
    run = shutil.copytree(measured, tmp_path / "moved" / "run")
    (run / "scores.json").write_text('{"seen": "many"}')
    environment = json.loads((run / "environment.json").read_text())
    environment["pack"]["path"] = environment["pack"]["relative"] = "/nowhere"
    (run / "environment.json").write_text(json.dumps(environment))
    page = check_self_contained(render(run))
    assert "scores.json lacks" in page.text or 'seen is "many"' in page.text
    assert "their pack is missing" in page.text
    assert "The pack of the training is not there any more" in page.text
    (run / "environment.json").write_text("{")
    assert "They are not recorded" in check_self_contained(render(run)).text


def test_scores_of_an_earlier_state_are_marked_and_not_the_headline(measured, tmp_path):
    run = shutil.copytree(measured, tmp_path / "run")
    for name in ("scores.json", "scores-val-5-views.json"):
        content = json.loads((run / name).read_text())
        content["checkpoint"]["sha256"] = "0" * 64
        (run / name).write_text(json.dumps(content))
    page = Page(render(run))
    assert "Measured on another state of the network: scores.json" in page.text
    assert "of another state of the network" in page.text
    assert "center view, validation images" in page.text


def test_a_report_of_nothing_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no trained network at .*alexnet train IMAGES"):
        write_report(tmp_path)


def test_the_command_writes_where_it_is_told_and_prints_the_path(measured, tmp_path):
    out = tmp_path / "new" / "about.html"
    words = [sys.executable, "-m", "alexnet", "report", measured, out, "--figures", "quick"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "TERM": "dumb"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Report: {out}\n"
    page = check_self_contained(out.read_text("utf-8"))
    assert len(page.all("img")) == 3
