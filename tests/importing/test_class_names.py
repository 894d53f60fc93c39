"""The files with names of classes that exist, and errors for others."""

import json

import pytest

from alexnet.importing.class_names import number_classes, read_class_names

IDS = ("n01440764", "n01443537", "n02012849")
NAMES = ("tench, Tinca tinca", "goldfish", "crane")


@pytest.mark.parametrize(
    ("name", "content", "has_ids"),
    [
        ("words.txt", "".join(f"{i} {n}\n" for i, n in zip(IDS, NAMES, strict=True)), True),
        ("names.txt", "\n".join(NAMES) + "\n\n", False),
        ("bom.txt", "\ufeff" + "\r\n".join(NAMES), False),
        ("labels.json", json.dumps(NAMES), False),
        (
            "index.json",
            json.dumps(dict(enumerate(zip(IDS, NAMES, strict=True)))),
            True,
        ),
        ("names.json", json.dumps({"1": NAMES[1], "0": NAMES[0], "2": NAMES[2]}), False),
    ],
)
def test_names_and_wordnet_ids_are_read(name, content, has_ids, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert read_class_names(tmp_path / name, 3) == (NAMES, IDS if has_ids else None)


def test_names_that_occur_twice_get_the_number_of_their_class(tmp_path):
    (tmp_path / "x.txt").write_text("crane\nmaillot\ncrane\n")
    assert read_class_names(tmp_path / "x.txt", 3).names == ("crane (0)", "maillot", "crane (2)")
    (tmp_path / "x.txt").write_text("crane\ncrane (0)\ncrane\n")
    assert len(set(read_class_names(tmp_path / "x.txt", 3).names)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"a\nb\n", "has 2 names, and the network 3 classes"),
        ("x.txt", b"a\n\nb\n", "has no name for class 1"),
        ("x.txt", b"a\0b", "no list of names"),
        ("x.txt", b"\xff\xfe", "is not UTF-8"),
        ("x.txt", b"n01440764 a\n" * 3, "has a WordNet id twice: 'n01440764'"),
        ("x.json", b"[1, 2, 3]", r"x.json\[0\] is 1, not a text"),
        ("x.json", b"7", "not an object"),
        ("x.json", b'{"0": "a", "1": "b", "7": "c"}', "not a list"),
        ("x.json", b"{", "no valid JSON"),
    ],
)
def test_other_files_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_class_names(tmp_path / name, 3)


def test_without_names_classes_have_numbers():
    assert number_classes(2) == (("class 0", "class 1"), None)
