"""Uneven classes are counted and said."""

from tests.packing.packing_sources import pixels, source

from alexnet.packing.pack import pack
from alexnet.packs.balance import describe_balance
from alexnet.packs.summary import summarize_pack
from alexnet.sources.entry import Entry


def make(folder, train, val=(1, 1)):
    items = {
        split: [
            Entry(split, f"{split}/{label}-{i}", label, pixels(1000 * label + i + seed))
            for label, n in enumerate(counts)
            for i in range(n)
        ]
        for split, counts, seed in (("train", train, 0), ("val", val, 500))
    }
    return pack(source("x", items, classes=("cat", "dog")), folder / "pack")


def test_even_classes_are_not_mentioned(tmp_path):
    assert describe_balance(make(tmp_path, (20, 30))) == []


def test_uneven_classes_are_said_with_their_numbers(tmp_path):
    made = make(tmp_path, (40, 12))
    (line,) = describe_balance(made)
    assert line.startswith("Uneven classes: 40 training images of 'cat', and 12 of 'dog'.")
    assert line in summarize_pack(made)


def test_small_classes_and_classes_that_are_not_measured_are_named(tmp_path):
    small, unmeasured = describe_balance(make(tmp_path, (9, 20), (1, 0)))
    assert small.startswith("1 class with fewer than 10 training images: 'cat' (9 in the smallest)")
    assert unmeasured.startswith("1 class has no validation image")
    assert "'dog'" in unmeasured
