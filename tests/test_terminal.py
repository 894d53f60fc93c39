"""Text from outside neither controls the terminal nor makes printing fail."""

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.screen import Bar
from alexnet.terminal import (
    GuardedStream,
    escape_unprintable,
    format_count,
    guard_streams,
    unwrap_stream,
    wrap_text,
)

HOSTILE = "cat\x1b[2J\x1b]0;title\x07\u202egpj.\u2066\udcff\x9b1m\r"


def test_control_characters_direction_marks_and_bytes_that_are_not_text_are_escaped():
    assert escape_unprintable("a\x1b\x07\n\u202e\udcff\x9b") == r"a\x1b\x07\n\u202e\udcff\x9b"
    assert escape_unprintable("naïve 猫, ½ $x") == "naïve 猫, ½ $x"


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", newline="")


@given(text=st.text(st.characters()), encoding=st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_nothing_that_is_printed_controls_the_terminal_or_fails(text, encoding):
    below = stream(encoding)
    guard = GuardedStream(below)
    guard.write(text)
    guard.flush()
    shown = below.buffer.getvalue().decode(encoding)
    assert all(c.isprintable() or c in "\n\t" for c in shown)


def test_printable_text_is_printed_unchanged():
    below = stream("utf-8")
    GuardedStream(below).writelines(["naïve 猫\t½\n", "b"])
    below.flush()
    assert below.buffer.getvalue().decode() == "naïve 猫\t½\nb"


def test_stdout_and_stderr_are_guarded_while_entered(capsys):
    before = sys.stdout, sys.stderr
    with guard_streams():
        sys.stdout.write(HOSTILE + "\n")
        sys.stderr.write(HOSTILE + "\n")
        assert unwrap_stream(sys.stderr) is before[1]
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert out == err == escape_unprintable(HOSTILE) + "\n"


def test_a_line_beside_a_bar_is_escaped(capsys):
    with guard_streams(), Bar() as bar:
        bar.say(f"a\n{HOSTILE}")
        bar.show(1, 2, f"[red]{HOSTILE}")
    err = capsys.readouterr().err
    assert err.rstrip("\n").splitlines() == [
        "a",
        escape_unprintable(HOSTILE),
        "[red]" + escape_unprintable(HOSTILE),
    ]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_commands_escape_hostile_names(tmp_path, encoding):
    folder = tmp_path / HOSTILE.replace("/", "")
    for name in "a\x1b[31m", "b\u202e":
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").write_bytes(b"no image")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "alexnet", "pack", folder, tmp_path / "out.pack"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 1
    text = (done.stdout + done.stderr).decode(encoding)
    assert "2 classes" in text
    assert "not one image in" in text
    assert all(c.isprintable() or c in "\n\t" for c in text)


def test_lines_that_fit_stay_and_longer_ones_are_wrapped_with_an_indent():
    text = "short\n  " + "word " * 30 + "\n\n  table   of  columns"
    lines = wrap_text(text, 40).split("\n")
    assert (lines[0], lines[-2:]) == ("short", ["", "  table   of  columns"])
    assert max(map(len, lines)) <= 40
    assert lines[1].startswith("  word")
    assert all(line.startswith("    word") for line in lines[2:-2])
    assert " ".join(lines).split() == text.split()


def test_a_path_is_not_broken():
    path = "/a-folder/" + "x-y/" * 30
    assert path in wrap_text(f"It is in {path} and nowhere else", 40).split("\n")[1]


@given(text=st.text(st.characters(categories=["L", "N", "Zs"])), width=st.integers(20, 100))
def test_wrapping_loses_no_word(text, width):
    assert wrap_text(text, width).split() == text.split()


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1200, "image", "1,200 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (1, "val image", "1 val image"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(number, noun, text):
    assert format_count(number, noun) == text
