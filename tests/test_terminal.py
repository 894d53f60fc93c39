"""Names of others on the terminal: they neither control it nor stop the printing."""

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.screen import Bar
from alexnet.terminal import GuardedStream, escape_unprintable, guard_streams, unwrap_stream

WICKED = "cat\x1b[2J\x1b]0;title\x07\u202egpj.\u2066\udcff\x9b1m\r"


def test_escapes_marks_of_direction_and_bytes_that_are_no_text_are_spelled_out():
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


def test_what_may_be_shown_is_shown_as_it_is():
    below = stream("utf-8")
    GuardedStream(below).writelines(["naïve 猫\t½\n", "b"])
    below.flush()
    assert below.buffer.getvalue().decode() == "naïve 猫\t½\nb"


def test_both_outputs_are_guarded_for_a_while(capsys):
    before = sys.stdout, sys.stderr
    with guard_streams():
        sys.stdout.write(WICKED + "\n")
        sys.stderr.write(WICKED + "\n")
        assert unwrap_stream(sys.stderr) is before[1]
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert out == err == escape_unprintable(WICKED) + "\n"


def test_a_line_beside_a_bar_is_escaped(capsys):
    with guard_streams(), Bar() as bar:
        bar.say(f"a\n{WICKED}")
        bar.show(1, 2, f"[red]{WICKED}")
    err = capsys.readouterr().err
    assert err.rstrip("\n").splitlines() == [
        "a",
        escape_unprintable(WICKED),
        "[red]" + escape_unprintable(WICKED),
    ]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_no_command_prints_a_wicked_name_as_it_is(tmp_path, encoding):
    folder = tmp_path / WICKED.replace("/", "")
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
