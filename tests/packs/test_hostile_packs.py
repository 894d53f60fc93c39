"""Packs, journals and samples that were changed: each gives its data or one clear error."""

import functools
import json
import math
import random
import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import save
from tests.packing.packing_sources import arrays

from alexnet.commands.pack import PackCommand
from alexnet.packing.journal import NAME, Journal, read_journal
from alexnet.packing.pack import pack
from alexnet.packs import samples
from alexnet.packs.checked_files import read_names
from alexnet.packs.pack import open_pack
from alexnet.packs.schema import compute_checksum, compute_digest
from alexnet.packs.summary import describe_pack
from alexnet.packs.verification import verify

DEEP = "[" * 100_000
LEAVES = (
    *(None, True, False, "", "x", "../x", "\0", "\ud800", [], {}, [[[]]], {"a": 1}, -1, 0, 1),
    *(1.5, 1e308, -1e308, math.nan, math.inf, 1 << 40, 1 << 70, 10**400, -(1 << 70), "ä" * 5000),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A pack of 12 training and 12 validation images in shards of 7."""
    return pack(arrays(12), tmp_path_factory.mktemp("hostile") / "pack", shard_images=7)


@pytest.fixture
def copy(original, tmp_path):
    """The folder of a copy of it, to damage."""
    return shutil.copytree(original.path, tmp_path / "copy")


@pytest.fixture
def begun(tmp_path):
    """The folder of a packing that was interrupted after its first shards."""

    class PowerCutError(Exception):
        pass

    def stop(progress):
        if progress.done > 10:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        pack(arrays(12), tmp_path / "begun", shard_images=4, processes=1, progress=stop)
    return tmp_path / "begun"


def places(value, path=()):
    """Every place in parsed JSON, as keys from the root."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))


def mutate(text: str, chance: random.Random) -> bytes:
    """JSON with a leaf or branch replaced, removed or doubled; or bytes flipped, cut or put in."""
    content = bytearray(text.encode())
    kind = chance.randrange(4)
    if kind == 0:
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        return bytes(content)
    if kind == 1:
        start, end = sorted(chance.randrange(len(content)) for _ in range(2))
        return bytes(content[:start] + chance.choice((b"", b"[" * 1000, b"\xff")) + content[end:])
    root = [json.loads(text)]
    for _ in range(chance.randint(1, 2)):
        *above, last = chance.choice([p for p in places(root) if p])
        parent = root
        for key in above:
            parent = parent[key]
        if chance.random() < 0.2 and above:
            del parent[last]
        else:
            parent[last] = chance.choice((*LEAVES, [parent[last]], {"x": parent[last]}))
    if not root:
        return b""
    if isinstance(root[0], dict) and "metadata_sha256" in root[0]:
        root[0].pop("metadata_sha256")  # as if by an earlier version: nothing hides the rest
    return json.dumps(root[0]).encode()


def attempt(read):
    """What `read` returns, or the text of its ValueError; anything else fails the test."""
    try:
        return read(), ""
    except ValueError as error:
        return None, str(error)


def test_any_changed_pack_json_gives_a_pack_or_an_error(copy):
    path = copy / "pack.json"
    text, chance, opened = path.read_text(), random.Random(1), 0
    for _ in range(2000):
        path.write_bytes(mutate(text, chance))
        found, told = attempt(lambda: open_pack(copy))
        if found is None:
            assert str(copy) in told
            continue
        opened += 1
        for split in found.splits.values():
            assert len(split) == 12
        if opened % 8 == 0:  # all that commands read of it
            assert attempt(functools.partial(describe_pack, found)) != (None, "")
            assert attempt(functools.partial(verify, found)) != (None, "")
    assert opened > 30


@pytest.mark.parametrize(
    "file", ["train/images-00000.npy", "train/labels.npy", "train/names.txt", "mean.npy"]
)
def test_any_changed_file_gives_data_or_an_error(copy, file):
    def look():
        found = open_pack(copy)
        split = found.splits["train"]
        assert set(split.labels) <= {-1, 0, 1}
        assert (len(split.names), split.gather([0, 11]).shape) == (12, (2, 8, 8, 3))
        assert np.isfinite(found.mean).all()

    whole, chance = (copy / file).read_bytes(), random.Random(2)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(min(len(content), 256))
            content[at] = chance.randrange(256)
        if chance.random() < 0.2:
            content = content[: chance.randrange(len(content))]
        (copy / file).write_bytes(content)
        _, told = attempt(look)
        assert not told or (str(copy / file) in told and "pack again" in told.lower())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 1 << 40}, "size is 1099511627776, not a number from 1 to"),
        ({"size": -8}, "size is -8"),
        ({"size": True}, "size is true, not a whole number"),
        ({"size": 8.0}, "size is 8.0, not a whole number"),
        ({"size": 1 << 20}, r"holds uint8 \(7, 8, 8, 3\), not uint8 \(7, 1048576, 1048576, 3\)"),
        ({"pixels": "cmyk"}, "pixels is .*not one of 'rgb', 'yuv420'"),
        ({"classes": ["cat", "cat"]}, "2 classes have 1 names"),
        ({"classes": ["cat", 3]}, r"classes\[1\] is 3, not a text"),
        ({"classes": []}, "0 classes"),
        ({"classes": ["cat"]}, "labels from 0 to 1, but with 1 classes they must be from -1 to 0"),
        ({"wordnet_ids": ["n1"]}, "1 WordNet ids for 2 classes"),
        ({"components": [[1, 0, 0], [0, 1, 0], [0, 0, math.nan]]}, r"components\[2\]\[2\] is NaN"),
        ({"components": [[1, 0, 0]]}, "1 rows of components, not 3"),
        ({"deviations": [1, 2]}, "deviations is a list of 2, not a list of 3"),
        ({"checksum": None}, "checksum is null, not a text"),
        ({"splits": {"../x": {}}}, "damaged"),
        ({"version": "x"}, "version is"),
        ({"version": 10**300}, "version is a number of 997 bits"),
        ({"version": 10**400}, "version is a number of 1329 bits"),
    ],
)
def test_the_error_names_the_field(copy, change, message):
    facts = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps(facts | change))
    with pytest.raises(ValueError, match=message) as caught:
        _ = open_pack(copy).splits["train"].labels
    assert "pack again" in str(caught.value).lower()


@pytest.mark.parametrize("file", ["train/../val/images-00000.npy", "/etc/passwd", "val/x.npy"])
def test_shards_with_other_names_than_those_of_their_split_are_refused(copy, file):
    facts = json.loads((copy / "pack.json").read_text())
    facts["splits"]["train"]["shards"][0]["file"] = file
    (copy / "pack.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"shard 0 of train is .*, not train/images-00000\.npy"):
        open_pack(copy)


@pytest.mark.parametrize("content", [DEEP.encode(), b"\xff\xfe", b"", b"3", b'{"a":' * 100_000])
def test_a_malformed_pack_json_is_refused(copy, content):
    (copy / "pack.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"pack\.json .*pack again"):
        open_pack(copy)


def test_npy_headers_that_no_pack_has_are_refused(copy):
    path = copy / "train" / "labels.npy"
    labels = np.load(path)
    np.save(path, np.asfortranarray(np.zeros((12, 2), np.int64)))
    with pytest.raises(ValueError, match=r"holds int64 \(12, 2\) in columns, not int64 \(12,\)"):
        open_pack(copy)
    np.save(path, np.array([{}] * 12, object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"holds '\|O' \(12,\), not int64"):
        open_pack(copy)
    path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + labels.tobytes())  # 4 GB of header
    with pytest.raises(ValueError, match=r"begins with no \.npy header"):
        open_pack(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + b"more\n", "has more than 12 names for 12 images"),
        (lambda text: text[text.index(b"\n") + 1 :], "has 11 names for 12 images"),
        (lambda text: text[:-1], "line 12 of .* is truncated"),
        (lambda text: b"\xff" + text[1:], "line 1 of .* is not UTF-8"),
        (lambda text: b"x" * (1 << 21), "line 1 of .* has no end"),
    ],
)
def test_malformed_names_are_refused(copy, change, message):
    path = copy / "train" / "names.txt"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        _ = open_pack(copy).splits["train"].names


def test_reading_names_stops_at_the_longest_line():
    with open("/dev/zero", "rb"), pytest.raises(ValueError, match="line 1 of /dev/zero has no end"):
        next(read_names("/dev/zero"))


def change_metadata(folder, change, keep_digest=False):
    facts = json.loads((folder / "pack.json").read_text())
    change(facts)
    if not keep_digest:
        facts["metadata_sha256"] = compute_digest(facts)
    (folder / "pack.json").write_text(json.dumps(facts))


def test_verify_finds_every_changed_field_of_pack_json(copy, original):
    for field in ("fit", "remarks", "source", "max_pixels", "duplicates", "upright"):
        other = {"fit": "pad", "remarks": ["x"], "source": {"kind": "x", "path": "y"}}
        old = original.metadata[field]
        new = other.get(field, 3 if field != "upright" else not old)
        new = {**old, **new} if field == "source" else new
        change_metadata(copy, lambda facts, f=field, n=new: facts.update({f: n}), keep_digest=True)
        with pytest.raises(ValueError, match=r"damaged: pack\.json \(it was changed"):
            verify(open_pack(copy))
        shutil.copy(original.path / "pack.json", copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["classes"].reverse(), "do not agree with its checksum"),
        (lambda f: f.update(classes=["cat", "bird"]), "do not agree with its checksum"),
        (lambda f: f.update(checksum="0" * 64), "do not agree with its checksum"),
        (lambda f: f["deviations"].reverse(), "components and deviations are not those"),
        (lambda f: f["components"].reverse(), "components and deviations are not those"),
        (lambda f: f.update(duplicates=7), r"duplicates\.jsonl has 0 lines, not 7"),
        (lambda f: f["splits"]["val"]["skipped"].update(x=1), r"skipped\.jsonl has 4 lines, not 5"),
        (lambda f: f["splits"]["val"].update(names_crc32="0" * 8), r"val/names\.txt"),
    ],
)
def test_verify_finds_a_change_with_a_matching_digest(copy, change, message):
    change_metadata(copy, change)
    with pytest.raises(ValueError, match=message):
        verify(open_pack(copy))


def test_verify_finds_the_mean_of_other_images(copy):
    path = copy / "mean.npy"
    path.write_bytes(path.read_bytes()[:128] + np.zeros((8, 8, 3), np.float32).tobytes())

    def agree(facts):
        from alexnet.packs.checked_files import crc32

        facts["mean_crc32"] = crc32(path)
        facts["checksum"] = compute_checksum(facts)

    change_metadata(copy, agree)
    with pytest.raises(ValueError, match=r"mean\.npy \(it is not the mean of the training images"):
        verify(open_pack(copy))


@pytest.mark.parametrize("name", ["skipped.jsonl", "duplicates.jsonl"])
@pytest.mark.parametrize("line", [b"[3]\n", b"\xff\n", DEEP.encode() + b"\n", b'{"a": 3}\n', b"{"])
def test_verify_checks_the_lists(copy, name, line):
    with open(copy / name, "ab") as lines:
        lines.write(line)
    with pytest.raises(ValueError, match=rf"damaged: line \d+ of .*{re.escape(name)}"):
        verify(open_pack(copy))


def make_old_version(folder):
    """Make a pack one of the first version."""
    facts = json.loads((folder / "pack.json").read_text())
    for name in ("metadata_sha256", "division", "upright"):
        del facts[name]
    (folder / "pack.json").write_text(json.dumps(facts))


def test_a_pack_of_an_earlier_version_opens_and_verify_says_what_it_cannot_check(
    copy, original, capsys
):
    make_old_version(copy)
    old = open_pack(copy)
    assert old.checksum == original.checksum
    assert np.array_equal(old.splits["val"].gather([3]), original.splits["val"].gather([3]))
    PackCommand(info=copy, verify=True).run()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "All checksums agree."
    assert told[1].startswith("Not checked: the source")


def test_verify_checks_everything_of_new_packs(original, tmp_path):
    made = pack(arrays(5), tmp_path / "yuv", pixels="yuv420", processes=1)
    assert verify(made) == verify(original) == ()
    make_old_version(made.path)
    assert len(verify(open_pack(made.path))) == 2


def test_a_pack_of_a_later_version_with_more_fields_opens(copy):
    change_metadata(
        copy, lambda facts: facts.update(more=[1], source={**facts["source"], "more": 2})
    )
    assert verify(open_pack(copy)) == ()


def test_any_changed_journal_is_read_or_refused(begun):
    path = begun / NAME
    text, chance, read = path.read_text(), random.Random(3), 0
    for _ in range(2000):
        path.write_bytes(mutate(text, chance))
        journal, told = attempt(lambda: read_journal(begun))
        assert isinstance(journal, Journal) or f"delete {begun} and pack again" in told
        read += not told
    assert read > 20


def test_a_changed_journal_is_refused_and_loses_no_images(begun):
    path = begun / NAME
    path.write_text(path.read_text().replace('"done": false', '"done": true'))
    with pytest.raises(ValueError, match="does not agree with its metadata_sha256"):
        pack(arrays(12), begun, shard_images=4, processes=1)


def test_journals_that_exceed_the_source_or_the_files_are_refused(begun):
    path = begun / NAME
    stored = json.loads(path.read_text())
    del stored["metadata_sha256"]  # as by an earlier version
    train = stored["splits"]["train"]
    train["done"] = False
    train["position"] += 1 << 50
    train["skipped"] = {"hidden": train["skipped"].get("hidden", 0) + (1 << 50)}
    path.write_text(json.dumps(stored))
    made = pack(arrays(12), begun, shard_images=4, processes=1)
    assert made.folder == begun / "version-2"  # nothing of the first can be continued
    verify(made)


def test_a_shard_that_is_shorter_than_the_journal_says_is_refused(begun):
    shard = begun / "train" / "images-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"images-00000\.npy has 895 bytes, not 896"):
        pack(arrays(12), begun, shard_images=4, processes=1)


def test_impossible_sums_are_refused(begun):
    (sums,) = begun.glob("sums-*.npy")
    content = bytearray(sums.read_bytes())
    content[135] = 255
    sums.write_bytes(content)
    with pytest.raises(ValueError, match=r"more than .* images can sum to"):
        pack(arrays(12), begun, shard_images=4, processes=1)


def test_any_changed_samples_are_read_or_refused(original, tmp_path):
    samples.write_samples(original, tmp_path)
    path = tmp_path / samples.NAME
    assert samples.read_samples(tmp_path).names[0] == samples.escape("val/ä\n1000")
    whole, chance = path.read_bytes(), random.Random(4)
    length = int.from_bytes(whole[:8], "little")
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(8 + length)] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            content = content[: chance.randrange(len(content))]
        path.write_bytes(content)
        found, told = attempt(lambda: samples.read_samples(tmp_path))
        assert f"{path} is damaged" in told or found.records.shape == (12, 8, 8, 3)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("null", "not an object"),
        (DEEP, "nested too deep"),
        ({"size": 1 << 19}, "records are"),
        ({"names": ["a"]}, "labels are"),
        ({"pixels": 3}, "pixels is 3"),
    ],
)
def test_malformed_samples_are_refused_with_the_field(original, tmp_path, about, message):
    good = {"split": "val", "size": 8, "pixels": "rgb", "pack_checksum": "x", "names": ["a", "b"]}
    text = about if isinstance(about, str) else json.dumps(good | about)
    tensors = {"records": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.zeros(2, np.int64)}
    (tmp_path / samples.NAME).write_bytes(save(tensors, {"alexnet": text}))
    with pytest.raises(ValueError, match=message):
        samples.read_samples(tmp_path)
