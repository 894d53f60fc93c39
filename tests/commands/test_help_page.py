"""The help of every command fits 80 columns, names every option once and shows no Python types."""

import re
import subprocess
import sys

import pytest

from alexnet.commands import COMMANDS
from alexnet.commands.help_page import format_help, format_overview
from alexnet.commands.options import list_options


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_names_each_option_once_in_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = format_help(name, COMMANDS[name])
    assert max(map(len, text.splitlines())) <= 80
    assert "None" not in text
    assert "[PATH" not in text
    for option in list_options(COMMANDS[name]):
        assert option.about, option.name
        heads = re.findall(rf"^  (?:-\w, )?{re.escape(option.flag)}(?: |$)", text, re.MULTILINE)
        assert len(heads) == 1, option.flag


def test_the_help_of_train_shows_the_common_options_first():
    text = format_help("train", COMMANDS["train"])
    titles = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert titles[:2] == ["Arguments", "Common options"]
    assert text.index("--epochs") < text.index("--momentum")


def test_the_overview_lists_every_command_and_the_option_version():
    text = format_overview(COMMANDS, "What it is.")
    assert "--version" in text
    for name in COMMANDS:
        assert f"\n  {name} " in text


def test_help_of_the_program_is_printed_for_help_and_of_a_command_wherever_it_is_asked_for():
    for words, first in (
        (["help"], "usage: alexnet COMMAND"),
        (["train", "x", "-h"], "usage: alexnet train IMAGES"),
        (["train", "--help", "--lr"], "usage: alexnet train IMAGES"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "alexnet", *words], capture_output=True, text=True
        )
        assert done.returncode == 0
        assert done.stdout.startswith(first)
