"""`alexnet claims`: the table of all claims, or of one."""

import json

import pytest

from alexnet.claims.paper import CLAIMS
from alexnet.claims.table import build_table
from alexnet.commands.claims import Claims


def test_the_table_of_one_claim_has_its_rows_only(capsys, tmp_path):
    Claims("table", "relu-tanh", folder=tmp_path, json=True).run()
    rows = json.loads(capsys.readouterr().out)
    assert {row["claim"] for row in rows} == {"relu-tanh"}
    with pytest.raises(ValueError, match=r"no claim is called 'relutanh'; there are .*relu-tanh"):
        Claims("table", "relutanh", folder=tmp_path).run()


def test_a_table_of_80_columns_has_every_command_whole(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    Claims(folder=tmp_path).run()
    lines = capsys.readouterr().out.splitlines()
    commands = [row.command for row in build_table(tmp_path)]
    assert len(commands) >= len(CLAIMS)
    assert {f"  {command}" for command in commands} <= set(lines)
    assert "…" not in "".join(lines)
    assert all(len(line) <= 80 for line in lines if line.startswith(("┃", "│", "├")))
