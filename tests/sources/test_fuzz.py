"""Damaged sources of every kind are read, in part or whole, or refused by one error.

`ALEXNET_FUZZ=100000 python -m pytest tests/sources/test_fuzz.py` tries more of them.
"""

import gzip
import os
import random
import struct

import pytest
from tests.sources.source_files import tar, write
from tests.sources.test_ilsvrc import archives_2012

from alexnet.sources import Entry, Skipped, open_source

TIMES = int(os.environ.get("ALEXNET_FUZZ", "60"))
PETS = {f"{split}/{pet}/1.jpg": b"x" * 700 for split in ("train", "val") for pet in ("cat", "dog")}
CSV = 'path,label,split\n1.jpg,cat,train\n"2.jpg","a ""dog""",train\n3.jpg,cat,val\n'
JSON = '{"path": "1.jpg", "label": 1}\n["2.jpg", "dog", "val"]\n{"file": null, "class": [{}]}\n'


def tarball(folder):
    (folder / "a.tar").write_bytes(tar(PETS))
    return folder / "a.tar", folder / "a.tar"


def compressed(folder):
    (folder / "a.tgz").write_bytes(gzip.compress(tar(PETS)))
    return folder / "a.tgz", folder / "a.tgz"


def table(folder):
    write(folder, "1.jpg", "2.jpg", "3.jpg")
    (folder / "a.csv").write_text(CSV)
    return folder / "a.csv", folder / "a.csv"


def json_lines(folder):
    write(folder, "1.jpg", "2.jpg", "3.jpg")
    (folder / "a.jsonl").write_text(JSON)
    return folder / "a.jsonl", folder / "a.jsonl"


def mnist(folder, damaged="train-images-idx3-ubyte"):
    images = struct.pack(">4I", 0x803, 3, 4, 4) + bytes(range(48))
    (folder / "train-images-idx3-ubyte").write_bytes(images)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 3) + b"\0\1\2")
    return folder, folder / damaged


def mnist_labels(folder):
    return mnist(folder, "train-labels-idx1-ubyte")


def norb(folder, damaged="dat"):
    name = "smallnorb-5x46789-training"
    dat = struct.pack("<6I", 0x1E3D4C55, 4, 2, 2, 3, 3) + bytes(36)
    (folder / f"{name}-dat.mat").write_bytes(dat)
    cat = struct.pack("<5I2I", 0x1E3D4C54, 1, 2, 1, 1, 0, 4)
    (folder / f"{name}-cat.mat").write_bytes(cat)
    return folder, folder / f"{name}-{damaged}.mat"


def norb_labels(folder):
    return norb(folder, "cat")


def train_tar(folder):
    return folder, archives_2012(folder) / "ILSVRC2012_img_train.tar"


def cifar(folder):
    record = bytes(1 + 3 * 32 * 32)
    names = "\n".join(f"class{i}" for i in range(10)).encode()
    batches = {f"data_batch_{i}.bin": record for i in range(1, 6)}
    files = {"batches.meta.txt": names, **batches, "test_batch.bin": record * 2}
    (folder / "cifar.tgz").write_bytes(gzip.compress(tar(files)))
    return folder / "cifar.tgz", folder / "cifar.tgz"


def devkit(folder):
    return folder, archives_2012(folder) / "ILSVRC2012_devkit_t12.tar.gz"


def damage(whole: bytes, chance: random.Random) -> bytes:
    """The bytes with some changed, left out, doubled, or replaced by numbers that are too large."""
    content = bytearray(whole)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(content) + 1)
        piece = chance.choice([
            b"", b"\xff" * 4, b"\0" * 8, b"\x80", b'"', b"\n", b"-1", b"9" * 12, b"{[", b"\xed\xb3",
            chance.randbytes(chance.randrange(1, 9)), bytes(content[at : at + 600]),
        ])  # fmt: skip
        content[at : at + chance.choice([0, len(piece), len(piece), 40, 512])] = piece
    return bytes(content)


def everything(path):
    """All that is found, and the words of the error that ended it."""
    found = []
    try:
        source = open_source(path)
        for split in source.splits:
            found += source.entries(split)
    except ValueError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize(
    "kind", [tarball, compressed, table, json_lines, mnist, mnist_labels, norb, norb_labels,
             cifar, train_tar, devkit],
)  # fmt: skip
def test_damage_is_named_or_refused(tmp_path, kind):
    path, damaged = kind(tmp_path)
    whole, chance = damaged.read_bytes(), random.Random(kind.__name__)
    for _ in range(TIMES):
        damaged.write_bytes(damage(whole, chance))
        found, error = everything(path)
        assert error or all(isinstance(item, Entry | Skipped) for item in found)
