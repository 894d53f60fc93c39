"""MATLAB's tables, as scipy writes them and as damage leaves them."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from alexnet.sources import matlab
from alexnet.sources.matlab import read_table

ROWS = [(1.0, "n01440764", "tench, Tinca tinca", 0.0), (2.0, "n00001740", "être 猫", 3.0)]
FIELDS = (0, "WNID", "words", "num_children")


def table(rows=ROWS, compressed=False, **more) -> bytes:
    fields = [("ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8"), ("below", "O")]
    synsets = np.zeros((len(rows), 1), fields)
    for at, row in enumerate(rows):
        synsets[at, 0] = (*row, np.arange(5.0))
    memory = io.BytesIO()
    savemat(memory, {"a": 1, "synsets": synsets, **more}, do_compression=compressed)
    return memory.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_table_of_scipy_is_read(compressed):
    assert read_table(table(compressed=compressed), "synsets", FIELDS) == ROWS


def test_what_is_neither_string_nor_number_or_not_there_is_none():
    assert read_table(table(), "synsets", ("below", "gloss", 7)) == [(None, None, None)] * 2


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_numbers_of_every_type_are_read(kind):
    memory = io.BytesIO()
    savemat(memory, {"t": {"x": np.array([[100]], kind)}})
    assert read_table(memory.getvalue(), "t", ["x"]) == [(100,)]


def element(order, kind, content):
    tag = struct.pack(order + "II", kind, len(content))
    return tag + content + bytes(-len(content) % 8)


def array(order, kind, sizes, *rest, name=b""):
    return element(order, 14, b"".join([
        element(order, 6, struct.pack(order + "II", kind, 0)),
        element(order, 5, struct.pack(f"{order}{len(sizes)}i", *sizes)),
        element(order, 1, name), *rest,
    ]))  # fmt: skip


def file(order, *arrays):
    return bytes(124) + struct.pack(order + "HH", 0x100, 0x4D49) + b"".join(arrays)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes_and_matlabs_wide_characters_are_read(order):
    word = array(order, 4, (1, 2), element(order, 4, struct.pack(order + "2H", 0xE9, 0x732B)))
    number = array(order, 6, (1, 1), element(order, 9, struct.pack(order + "d", 7)))
    names = element(order, 5, struct.pack(order + "i", 8)), element(order, 1, b"w\0......n\0......")
    content = file(order, array(order, 2, (1, 1), *names, word, number, name=b"t"))
    assert read_table(content, "t", ["w", "n"]) == [("é猫", 7.0)]


def test_a_table_that_claims_a_billion_rows_takes_no_memory():
    names = element("<", 5, struct.pack("<i", 2)), element("<", 1, b"w\0")
    for sizes in (1 << 30, 1), (1 << 16, 1 << 15), (-1, -1), (0x7FFFFFFF,) * 8:
        content = file("<", array("<", 2, sizes, *names, name=b"t"))
        with pytest.raises(ValueError, match=r"a table of|the sizes"):
            read_table(content, "t", ["w"])
    nameless = element("<", 5, struct.pack("<i", 2)), element("<", 1, b"")
    with pytest.raises(ValueError, match="names of 2 bytes in 0"):
        read_table(file("<", array("<", 2, (1 << 30, 1), *nameless, name=b"t")), "t", ["w"])


def test_a_compressed_part_that_grows_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(matlab, "MOST_BYTES", 1 << 16)
    content = file("<", element("<", 15, zlib.compress(bytes(1 << 20))))
    with pytest.raises(ValueError, match="has more than 65,536 bytes"):
        read_table(content, "t", ["w"])


def outcome(content):
    """What is read, or the words of the one error that is raised."""
    try:
        return read_table(bytes(content), "synsets", FIELDS)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("compressed", [False, True])
def test_thousands_of_flipped_bytes_give_the_table_or_one_error(compressed):
    whole, chance = table(compressed=compressed, b="text"), random.Random(0)
    for at in range(len(whole)):
        for value in (0, 1, 0x7F, 0x80, 0xFF, whole[at] ^ 1 << chance.randrange(8)):
            damaged = bytearray(whole)
            damaged[at] = value
            found = outcome(damaged)
            assert isinstance(found, str) or all(len(row) == len(FIELDS) for row in found)


def test_every_cut_and_many_mixtures_give_the_table_or_one_error():
    whole, chance = table(), random.Random(1)
    assert all(isinstance(outcome(whole[:end]), str) for end in range(len(whole) - 8))
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(8)] = chance.randbytes(chance.randrange(8))
        assert isinstance(outcome(damaged), str | list)
