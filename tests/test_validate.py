"""Parsed JSON has the types it should have, or a ValueError names the place where it has not."""

import gc
import json
import tracemalloc
import weakref
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from alexnet.validate import NOT_FINITE, Range, check, parse_json, read_json


@dataclass(frozen=True)
class Point:
    x: float
    y: Annotated[int, Range(0, 9)] = 3
    tags: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    inner: "Point | None" = None
    loss: Annotated[float, NOT_FINITE] = field(default=0.0)


def test_a_dataclass_comes_back_as_it_was_written():
    stored = {"x": 1, "y": 2, "tags": ["u"], "kind": "b", "inner": {"x": 0.5}, "loss": float("nan")}
    found = check(json.loads(json.dumps(stored)), Point, "file")
    assert (found.x, found.y, found.tags, found.inner) == (1.0, 2, ("u",), Point(0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "1"}, r'file.x is "1", not a number'),
        ({"x": float("inf")}, "file.x is Infinity, not a finite number"),
        ({"x": 10**400}, "file.x is a number of 1329 bits, not a finite number"),
        ({"y": True}, "file.y is true, not a whole number"),
        ({"y": 10}, "file.y is 10, not a number from 0 to 9"),
        ({"y": None}, "file.y is null, not a whole number"),
        ({"tags": "u"}, 'file.tags is "u", not a list'),
        ({"tags": ["u", 3]}, r"file.tags\[1\] is 3, not a text"),
        ({"kind": "c"}, "not one of 'a', 'b'"),
        ({"inner": {"x": []}}, "file.inner.x is a list of 0, not a number"),
        ({"z": 1}, 'file has the unknown field "z"'),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_place(change, message):
    with pytest.raises(ValueError, match=message):
        check({"x": 1.0, **change}, Point, "file")


def test_a_missing_field_is_named():
    with pytest.raises(ValueError, match="file lacks the field 'x'"):
        check({}, Point, "file")


def test_tuples_of_fixed_length_and_dicts_are_checked():
    assert check([1, "a"], tuple[int, str], "f") == (1, "a")
    assert check({"a": [1]}, dict[str, list[int]], "f") == {"a": [1]}
    with pytest.raises(ValueError, match="a list of 2"):
        check([1], tuple[int, str], "f")
    with pytest.raises(ValueError, match=r"f.a\[0\]"):
        check({"a": ["1"]}, dict[str, list[int]], "f")


def test_text_that_is_not_json_is_too_deep_or_too_large_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json("[" * 200_000, "file")
    with pytest.raises(ValueError, match="no valid JSON"):
        parse_json(b"\xff\xfe{", "file")
    path = tmp_path / "facts.json"
    path.write_text("[1, 2, 3]")
    assert read_json(path) == [1, 2, 3]
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_json(path, 4)


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text("[1, 2, 3]")
    tracemalloc.start()
    assert read_json(path, 1 << 32) == [1, 2, 3]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_value_that_fits_the_second_kind_keeps_no_frame_alive():
    class Held:
        pass

    def call():
        held = Held()
        references.append(weakref.ref(held))
        return check({"a": "text"}, dict[str, int | float | str | None], "place")

    references = []
    gc.disable()
    try:
        assert call() == {"a": "text"}
        assert references[0]() is None
    finally:
        gc.enable()
