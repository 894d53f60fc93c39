"""Hostile inputs: a short version of `python -m tests.faults.fuzz`, and tests of its judge."""

import errno
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.judge import Wrong, judge
from tests.faults.mutate import change_value
from tests.faults.structures import change

from alexnet.recipes.recipe import Recipe
from alexnet.sources import open_source

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


def caught(act) -> BaseException:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - it is what is looked at
        return error
    raise AssertionError("nothing was raised")


def test_every_reader_returns_or_raises_a_clear_error_on_thousands_of_hostile_inputs(tmp_path):
    record = tmp_path / "fuzz.json"
    program = [sys.executable, "-m", "tests.faults.fuzz"]  # of its own, because it forks
    command = [*program, "--inputs", "4000", "--json", str(record), "--corpus", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert sum(x["inputs"] for x in json.loads(record.read_text())["records"]) >= 4000


def test_an_error_raised_by_the_package_is_not_a_finding(tmp_path):
    assert judge(caught(lambda: open_source(tmp_path / "nowhere"))) is None
    assert judge(caught(lambda: Recipe(epochs=0))) is None
    assert judge(OSError(errno.EACCES, "Permission denied", "x")) is None


def test_an_exception_that_would_print_a_traceback_is_a_finding():
    for kind in TypeError, KeyError, RecursionError, NotImplementedError:
        assert judge(kind("x")) == "traceback"
    assert judge(MemoryError("64 TiB")) == "memory"
    assert judge(Wrong("a label of 7 of 3 classes")) == "wrong"


def test_an_error_with_a_message_from_a_library_is_counted_separately():
    assert judge(caught(lambda: int("x"))) == "unclear"
    assert judge(caught(b"\xff".decode)) == "unclear"


@pytest.mark.parametrize("name", ["x.json", "x.tar", "x.npy", "x.safetensors", "x.png", "x.bin"])
def test_an_input_depends_only_on_its_number(name):
    content = json.dumps({"a": [1, {"b": "c"}]}).encode() * 20
    some = [change(random.Random(7), name, content) for _ in range(2)]
    assert some[0] == some[1]
    assert len({change(random.Random(i), name, content)[0] for i in range(50)}) > 20


def test_changing_json_changes_one_place_of_a_copy():
    value = {"a": [1, 2], "b": {"c": None}}
    for number in range(200):
        changed, what = change_value(random.Random(number), value)
        assert what
        assert changed is not value
    assert value == {"a": [1, 2], "b": {"c": None}}
