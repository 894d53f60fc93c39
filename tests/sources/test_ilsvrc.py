"""ILSVRC-2010 and ILSVRC-2012 as distributed, and in the folders that people make of them."""

import gzip
import io
import sys

import numpy as np
import pytest
from scipy.io import savemat
from tests.sources.source_files import content, skipped, tar, used, write

from alexnet.sources import Entry, Span, open_source

# the kit numbers synsets in an order that is not that of WordNet ids; the last one is no leaf
SYNSETS = (
    (1, "n02119789", "kit fox, Vulpes macrotis", 0, 2),
    (2, "n01440764", "tench, Tinca tinca", 0, 2),
    (3, "n02100735", "English setter", 0, 1),
    (4, "n00001740", "entity", 3, 0),
)
CLASSES = ("tench, Tinca tinca", "English setter", "kit fox, Vulpes macrotis")
IDS = ("n01440764", "n02100735", "n02119789")
IMAGES = {
    "n01440764": ("n01440764_18.JPEG", "n01440764_36.JPEG"),
    "n02100735": ("n02100735_7.JPEG",),
    "n02119789": ("n02119789_1.JPEG", "n02119789_5.JPEG"),
}
TRAIN = {
    f"train/{wnid}/{image}": name
    for (wnid, images), name in zip(IMAGES.items(), CLASSES, strict=True)
    for image in images
}
VAL = {f"val/ILSVRC2012_val_{i:08d}.JPEG": CLASSES[label] for i, label in ((1, 1), (2, 2), (3, 0))}
TRUTH = b"3\n1\n2\n"


def meta(year: int = 2012) -> bytes:
    """meta.mat, in the form of the kit."""
    fields = [(f"ILSVRC{year}_ID", "f8"), ("WNID", "O"), ("words", "O"), ("gloss", "O")]
    fields += [("num_children", "f8"), ("children", "O"), ("num_train_images", "f8")]
    synsets = np.zeros((len(SYNSETS), 1), fields)
    for row, (number, wnid, words, children, images) in zip(synsets[:, 0], SYNSETS, strict=True):
        below = np.arange(1.0, children + 1)
        for field, value in zip(
            synsets.dtype.names,
            (number, wnid, words, "a gloss", children, below, images),
            strict=True,
        ):
            row[field] = value
    memory = io.BytesIO()
    savemat(memory, {"synsets": synsets})
    return memory.getvalue()


def kit_files(year: int = 2012, truth: bytes = TRUTH) -> dict[str, bytes]:
    name = "ILSVRC2012_devkit_t12" if year == 2012 else "devkit-1.0"
    return {
        f"{name}/readme.txt": b"This is the documentation",
        f"{name}/data/meta.mat": meta(year),
        f"{name}/data/ILSVRC{year}_validation_ground_truth.txt": truth,
    }


def train_tar(order=sorted) -> bytes:
    """A tar of one tar for each synset."""
    return tar({
        f"{wnid}.tar": tar({image: image.encode() for image in order(images)})
        for wnid, images in IMAGES.items()
    })  # fmt: skip


def archives_2012(folder, compress=bytes, ending="", order=sorted):
    val = {name.removeprefix("val/"): name.removeprefix("val/").encode() for name in VAL}
    (folder / f"ILSVRC2012_img_train.tar{ending}").write_bytes(compress(train_tar(order)))
    (folder / f"ILSVRC2012_img_val.tar{ending}").write_bytes(compress(tar(val)))
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(gzip.compress(tar(kit_files())))
    return folder


def folders_2012(folder, val=VAL):
    write(folder, *TRAIN, *val)
    for name, file in kit_files().items():
        write(folder, name)
        (folder / name).write_bytes(file)
    return folder


@pytest.mark.parametrize(("compress", "ending"), [(bytes, ""), (gzip.compress, ".gz")])
def test_the_archives_of_2012_are_read_as_distributed(tmp_path, compress, ending):
    source = open_source(archives_2012(tmp_path, compress, ending))
    assert (source.kind, source.splits) == ("ilsvrc2012", ("train", "val"))
    assert (source.classes, source.wordnet_ids) == (CLASSES, IDS)
    assert used(source, "train") == TRAIN
    assert used(source, "val") == VAL
    assert not skipped(source, "train")
    for split in source.splits:
        for entry in source.entries(split):
            assert content(entry) == entry.name.rpartition("/")[2].encode()
            assert isinstance(entry.content, bytes if ending else Span)


def test_one_of_the_archives_stands_for_the_folder_around_it(tmp_path):
    source = open_source(archives_2012(tmp_path) / "ILSVRC2012_img_train.tar")
    assert source.splits == ("train", "val")


def test_archives_and_the_folders_made_of_them_give_the_same_in_the_same_order(tmp_path):
    for name in ("archives", "folders"):
        (tmp_path / name).mkdir()
    shuffled = archives_2012(tmp_path / "archives", order=lambda names: sorted(names, reverse=True))
    archives, folders = open_source(shuffled), open_source(folders_2012(tmp_path / "folders"))
    assert (archives.classes, archives.wordnet_ids) == (folders.classes, folders.wordnet_ids)
    for split in "train", "val":
        first, second = archives.entries(split), folders.entries(split)
        assert [(e.name, e.label) for e in first] == [(e.name, e.label) for e in second]


def test_validation_images_sorted_into_folders_need_no_ground_truth(tmp_path):
    sorted_val = {
        f"val/n01440764/{name.removeprefix('val/')}": CLASSES[0]
        for name in VAL  # not their true class
    }
    assert used(open_source(folders_2012(tmp_path, sorted_val)), "val") == sorted_val


def test_the_training_tar_taken_apart_into_its_class_tars_is_read(tmp_path):
    archives_2012(tmp_path)
    (tmp_path / "ILSVRC2012_img_train.tar").unlink()
    parts = write(tmp_path / "ILSVRC2012_img_train")
    parts.mkdir()
    for wnid, images in IMAGES.items():
        (parts / f"{wnid}.tar").write_bytes(tar(dict.fromkeys(images, b"")))
    assert used(open_source(tmp_path), "train") == TRAIN


def test_the_archives_of_2010_are_read_as_distributed(tmp_path):
    val = {f"val/ILSVRC2010_val_{i:08d}.JPEG": b"" for i in (1, 2, 3)}
    test = {f"test/ILSVRC2010_test_{i:08d}.JPEG": b"" for i in (1, 2)}
    (tmp_path / "ILSVRC2010_images_train.tar").write_bytes(train_tar())
    (tmp_path / "ILSVRC2010_images_val.tar").write_bytes(tar(val))
    (tmp_path / "ILSVRC2010_images_test.tar").write_bytes(tar(test))
    (tmp_path / "ILSVRC2010_test_ground_truth.txt").write_bytes(b"2\n1\n")
    kit = gzip.compress(tar(kit_files(2010)))
    (tmp_path / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(kit)
    source = open_source(tmp_path)
    assert (source.kind, source.splits) == ("ilsvrc2010", ("train", "val", "test"))
    assert used(source, "train") == TRAIN
    assert list(used(source, "val").values()) == [CLASSES[1], CLASSES[2], CLASSES[0]]
    assert list(used(source, "test").values()) == [CLASSES[0], CLASSES[2]]


def test_the_test_images_of_2012_have_no_labels(tmp_path):
    archives_2012(tmp_path)
    images = tar({"test/ILSVRC2012_test_00000001.JPEG": b""})
    (tmp_path / "ILSVRC2012_img_test_v10102019.tar").write_bytes(images)
    source = open_source(tmp_path)
    assert used(source, "test") == {"test/ILSVRC2012_test_00000001.JPEG": "?"}


def test_kaggles_form_is_read_with_its_lists(tmp_path):
    write(tmp_path / "ILSVRC/Data/CLS-LOC", *TRAIN, *VAL)
    words = "".join(
        f"{wnid} {name}\n" for wnid, name in zip(reversed(IDS), reversed(CLASSES), strict=True)
    )
    (tmp_path / "LOC_synset_mapping.txt").write_text(words)
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000003,n01440764 1 2 3 4 n01440764 5 6 7 8\n"
        "ILSVRC2012_val_00000001,n02100735 1 2 3 4\n"
        "ILSVRC2012_val_00000002,n02119789 1 2 3 4\n"
    )
    source = open_source(tmp_path)
    assert (source.classes, source.wordnet_ids) == (CLASSES, IDS)
    assert used(source, "train") == TRAIN
    assert used(source, "val") == VAL


def test_counts_that_differ_from_the_published_ones_are_remarked_upon(tmp_path):
    assert open_source(archives_2012(tmp_path)).remarks == (
        "The kit has 3 classes; 1,000 were published.",
        "The kit labels 3 validation images; 50,000 were published.",
    )


def test_short_and_empty_classes_are_named(tmp_path):
    folders_2012(tmp_path)
    (tmp_path / "train/n01440764/n01440764_18.JPEG").unlink()
    (tmp_path / "train/n02100735/n02100735_7.JPEG").unlink()
    (tmp_path / "train/n02100735").rmdir()
    source = open_source(tmp_path)
    assert source.remarks[-1] == "Classes without training images: 1, as 'n02100735'."
    assert skipped(source, "train") == {
        "train/n01440764": "short_class",
        "train/n02100735": "empty_class",
    }


def test_synsets_that_the_kit_lacks_are_not_used_but_named(tmp_path):
    source = open_source(write(folders_2012(tmp_path), "train/n99999999/x.JPEG", "train/y.JPEG"))
    assert skipped(source, "train") == {
        "train/n99999999/x.JPEG": "unknown_class",
        "train/y.JPEG": "unknown_class",
    }


def test_validation_images_are_labeled_by_number_whichever_are_missing(tmp_path):
    source = open_source(folders_2012(tmp_path))
    (tmp_path / "val/ILSVRC2012_val_00000001.JPEG").unlink()
    write(tmp_path, "val/ILSVRC2012_val_00000004.JPEG", "val/mine.JPEG")
    assert used(source, "val") == dict(list(VAL.items())[1:])
    assert skipped(source, "val") == {
        "val/ILSVRC2012_val_00000004.JPEG": "unlabeled",
        "val/mine.JPEG": "unlabeled",
        "val": "missing",
    }


def test_a_training_archive_that_is_cut_gives_its_whole_images(tmp_path):
    archive = archives_2012(tmp_path) / "ILSVRC2012_img_train.tar"
    archive.write_bytes(train_tar()[: 512 + 10240 + 512 + 300])  # in the second class's tar
    source = open_source(tmp_path)
    assert list(used(source, "train")) == list(TRAIN)[:2]
    named = [
        (item.name, item.reason) for item in source.entries("train") if not isinstance(item, Entry)
    ]
    assert ("ILSVRC2012_img_train.tar", "truncated_archive") in named
    assert ("train/n02119789", "empty_class") in named


def test_synsets_with_the_same_words_stay_apart(tmp_path, monkeypatch):
    cranes = ((1, "n03126707", "crane", 0, 0), (2, "n02012849", "crane", 0, 0))
    monkeypatch.setattr(sys.modules[__name__], "SYNSETS", cranes)
    source = open_source(archives_2012(tmp_path))
    assert source.classes == ("crane (n02012849)", "crane (n03126707)")


def test_archives_without_a_kit_say_what_is_missing(tmp_path):
    archives_2012(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(ValueError, match=r"no development kit.*: put ILSVRC2012_devkit_t12"):
        open_source(tmp_path)


def test_a_kit_without_archives_says_what_is_missing(tmp_path):
    archives_2012(tmp_path)
    for split in "train", "val":
        (tmp_path / f"ILSVRC2012_img_{split}.tar").unlink()
    with pytest.raises(ValueError, match=r"no images: ILSVRC2012_img_train\.tar"):
        open_source(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"MATLAB 5.0 MAT-file", meta()[:500]])
def test_a_damaged_table_of_synsets_says_so(tmp_path, damage):
    folders_2012(tmp_path)
    (tmp_path / "ILSVRC2012_devkit_t12/data/meta.mat").write_bytes(damage)
    with pytest.raises(ValueError, match=r"meta\.mat is not a meta\.mat of ILSVRC"):
        open_source(tmp_path)


def test_a_ground_truth_that_is_no_list_of_numbers_says_where(tmp_path):
    folders_2012(tmp_path)
    truth = tmp_path / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\ntwo\n")
    with pytest.raises(ValueError, match=r"ground_truth\.txt, line 2, is not the number"):
        open_source(tmp_path)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_of_two_images_with_one_name_in_a_classs_tar_the_first_is_used(tmp_path, compress):
    archives_2012(tmp_path)
    once = tar({"n01440764_18.JPEG": b"first"}).rstrip(b"\0").ljust(1024, b"\0")
    twice = once + tar({"n01440764_18.JPEG": b"second"})
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(compress(tar({"n01440764.tar": twice})))
    source = open_source(tmp_path)
    assert skipped(source, "train")["n01440764/n01440764_18.JPEG"] == "named_twice"
    assert [content(e) for e in source.entries("train") if isinstance(e, Entry)] == [b"first"]


def test_a_table_of_synsets_with_any_byte_flipped_is_read_or_refused_in_words(tmp_path):
    folder, whole = folders_2012(tmp_path), meta()
    path = folder / "ILSVRC2012_devkit_t12/data/meta.mat"
    for at in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        problem = ""
        try:
            assert len(open_source(folder).classes) <= len(SYNSETS)
        except ValueError as error:
            problem = str(error)
        assert not problem or "meta.mat" in problem


def test_labels_beyond_all_published_ones_are_refused(tmp_path):
    folders_2012(tmp_path)
    truth = tmp_path / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1 " * 1_000_001)
    with pytest.raises(ValueError, match=r"ground_truth\.txt has more than 1,000,000 labels"):
        open_source(tmp_path)
    truth.write_text("9" * 5000)
    with pytest.raises(ValueError, match="line 1, is not the number of a synset"):
        open_source(tmp_path)
    truth.write_bytes(bytes((1 << 24) + 1))
    with pytest.raises(
        ValueError, match="has more than 16,777,216 bytes: it is not a file of ILSVRC"
    ):
        open_source(tmp_path)
