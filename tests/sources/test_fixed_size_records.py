"""CIFAR, MNIST, small NORB and the digits: files of records with the pixels themselves."""

import gzip
import struct
from collections import Counter

import numpy as np
import pytest
from tests.sources.source_files import skipped, tar, tar_folder

from alexnet.sources import Entry, open_source

NOISE = np.random.default_rng(0)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def images(source, split):
    return [entry for entry in source.entries(split) if isinstance(entry, Entry)]


def pixels(*shape):
    return NOISE.integers(0, 256, shape, np.uint8)


def cifar_records(rgb, *labels):
    """Label bytes, then the red, the green and the blue plane of each image."""
    planes = rgb.transpose(0, 3, 1, 2).reshape(len(rgb), -1)
    return np.concatenate([np.stack(labels, 1).astype(np.uint8), planes], 1).tobytes()


@pytest.fixture
def cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    (folder / "readme.html").touch()
    rgb, labels = pixels(18, 32, 32, 3), np.arange(18) % 10
    for batch in range(6):
        name = f"data_batch_{batch + 1}.bin" if batch < 5 else "test_batch.bin"
        part = slice(3 * batch, 3 * batch + 3)
        (folder / name).write_bytes(cifar_records(rgb[part], labels[part]))
    return folder, rgb, labels


@pytest.mark.parametrize("ending", [None, "tar", "tar.gz"])
def test_cifar_10_is_read_as_a_folder_and_as_an_archive(cifar10, tmp_path, ending):
    folder, rgb, labels = cifar10
    path = tar_folder(folder, tmp_path / f"cifar-10-binary.{ending}") if ending else folder
    source = open_source(path)
    assert (source.kind, source.classes, source.native_size) == ("cifar10", CIFAR10, 32)
    assert source.remarks == ("Its test split is used for validation, under the name 'val'.",)
    found = images(source, "train") + images(source, "val")
    assert [entry.label for entry in found] == labels.tolist()
    np.testing.assert_array_equal([entry.content for entry in found], rgb)
    assert [found[0].name, found[-1].name] == ["data_batch_1.bin/00000", "test_batch.bin/00002"]


def test_the_archive_of_cifar_10_is_found_in_the_folder_it_was_saved_to(cifar10, tmp_path):
    saved = tmp_path / "downloads"
    saved.mkdir()
    tar_folder(cifar10[0], saved / "cifar-10-binary.tar.gz")
    assert open_source(saved).kind == "cifar10"
    assert open_source(cifar10[0] / "test_batch.bin").path == cifar10[0]


def test_cifar_100_has_its_fine_labels(tmp_path):
    names = [f"class_{i}" for i in range(100)]
    (tmp_path / "fine_label_names.txt").write_text("\n".join(names))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(names[:20]))
    rgb, fine = pixels(4, 32, 32, 3), np.array([99, 3, 50, 0])
    (tmp_path / "train.bin").write_bytes(cifar_records(rgb, fine // 5, fine))
    (tmp_path / "test.bin").write_bytes(cifar_records(rgb[:1], fine[:1] // 5, fine[:1]))
    source = open_source(tmp_path)
    assert (source.kind, source.classes) == ("cifar100", tuple(names))
    assert [entry.label for entry in images(source, "train")] == fine.tolist()
    np.testing.assert_array_equal([entry.content for entry in images(source, "train")], rgb)
    assert len(images(source, "val")) == 1


def test_batches_of_cifar_that_are_cut_missing_or_mislabeled_are_named(cifar10):
    folder, _, _ = cifar10
    batch = folder / "data_batch_2.bin"
    batch.write_bytes(b"\x0b" + batch.read_bytes()[1:-1])
    (folder / "data_batch_4.bin").unlink()
    source = open_source(folder)
    assert len(images(source, "train")) == 3 + 1 + 3 + 3
    assert skipped(source, "train") == {
        "data_batch_2.bin/00000": "unknown_class",
        "data_batch_2.bin": "truncated_archive",
        "data_batch_4.bin": "missing",
    }
    assert "data_batch_4.bin is missing." in source.remarks


def test_names_of_cifars_classes_may_be_missing(cifar10):
    (cifar10[0] / "batches.meta.txt").unlink()
    source = open_source(cifar10[0])
    assert source.classes == tuple("0123456789")
    assert "has 0 names, not 10: the classes are named by number" in source.remarks[-1]


def test_the_python_form_of_cifar_is_refused_with_the_form_to_get(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    names = ("data_batch_1", "test_batch", "batches.meta")
    path.write_bytes(gzip.compress(tar({f"cifar-10-batches-py/{n}": b"\x80" for n in names})))
    with pytest.raises(ValueError, match=r"pickles are not read. Get the binary version"):
        open_source(path)


def idx(array):
    """The file format of MNIST: kind and number of dimensions, their sizes, bytes."""
    return struct.pack(f">{1 + array.ndim}i", 0x800 | array.ndim, *array.shape) + array.tobytes()


def mnist_files(folder, ending="", compress=bytes, dash="-"):
    folder.mkdir(exist_ok=True)
    gray, labels = pixels(7, 28, 28), np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
    for split, part in ("train", slice(5)), ("t10k", slice(5, 7)):
        for what, array in (f"images{dash}idx3", gray), (f"labels{dash}idx1", labels):
            file = folder / f"{split}-{what}-ubyte{ending}"
            file.write_bytes(compress(idx(array[part])))
    return folder, gray, labels


@pytest.mark.parametrize(
    "form", [(), (".gz", gzip.compress), ("", bytes, ".")], ids=["plain", "gz", "dotted"]
)
def test_mnist_is_read_compressed_or_not(tmp_path, form):
    folder, gray, labels = mnist_files(tmp_path / "mnist", *form)
    source = open_source(folder)
    assert (source.kind, source.native_size) == ("mnist", 28)
    assert source.classes == tuple("0123456789")
    found = images(source, "train") + images(source, "val")
    assert [entry.label for entry in found] == labels.tolist()
    np.testing.assert_array_equal([entry.content for entry in found], gray)
    assert "Its test split (t10k) is used for validation" in source.remarks[0]


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_mnist_is_read_from_an_archive_of_its_compressed_files(tmp_path, ending):
    folder, gray, _ = mnist_files(tmp_path / "mnist", ".gz", gzip.compress)
    source = open_source(tar_folder(folder, tmp_path / f"numerals.{ending}"))
    np.testing.assert_array_equal([e.content for e in images(source, "train")], gray[:5])


def test_fashion_mnist_is_known_by_the_name_of_its_folder(tmp_path):
    folder, _, _ = mnist_files(tmp_path / "FashionMNIST")
    source = open_source(mnist_files(folder / "raw")[0])
    assert source.kind == "fashion_mnist"
    assert source.classes[9] == "Ankle boot"


def test_a_cut_idx_file_gives_its_whole_images(tmp_path):
    folder, _, _ = mnist_files(tmp_path)
    for name in "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte":
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    source = open_source(folder)
    assert len(images(source, "train")) == 4
    assert skipped(source, "train") == {"train-images-idx3-ubyte": "truncated_archive"}
    assert skipped(source, "val") == {"val/00001": "unlabeled"}


def test_a_cut_compressed_idx_file_gives_its_whole_images(tmp_path):
    folder, _, _ = mnist_files(tmp_path, ".gz", gzip.compress)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:2000])
    source = open_source(folder)
    assert len(images(source, "train")) == 2
    assert skipped(source, "train") == {"train-images-idx3-ubyte.gz": "truncated_archive"}


def test_an_idx_file_of_another_kind_says_what_it_begins_with(tmp_path):
    folder, _, _ = mnist_files(tmp_path)
    (folder / "train-images-idx3-ubyte").write_bytes(b"<html>")
    with pytest.raises(
        ValueError, match="not an IDX file of images: it begins with 0x3c68746d, not 0x803"
    ):
        open_source(folder)


def matrix(array, magic):
    """The file format of small NORB: little-endian, with at least three sizes."""
    sizes = (*array.shape, 1, 1)[: max(3, array.ndim)]
    return struct.pack(f"<{2 + len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


@pytest.mark.parametrize(("ending", "compress"), [("", bytes), (".gz", gzip.compress)])
def test_small_norb_is_read_by_its_first_camera(tmp_path, ending, compress):
    pairs, labels = pixels(4, 2, 96, 96), np.array([4, 0, 2, 5], "<i4")
    for split, digits, part in ("training", "46789", slice(3)), ("testing", "01235", slice(2, 4)):
        name = f"smallnorb-5x{digits}x9x18x6x2x96x96-{split}"
        dat, cat = tmp_path / f"{name}-dat.mat{ending}", tmp_path / f"{name}-cat.mat{ending}"
        dat.write_bytes(compress(matrix(pairs[part], 0x1E3D4C55)))
        cat.write_bytes(compress(matrix(labels[part], 0x1E3D4C54)))
    source = open_source(tmp_path)
    assert (source.kind, source.native_size, source.splits) == ("norb", 96, ("train", "val"))
    assert source.remarks[0] == "Only the images of the first camera are used."
    assert [source.classes[e.label] for e in images(source, "train")] == [
        "car",
        "animal",
        "airplane",
    ]
    np.testing.assert_array_equal([e.content for e in images(source, "train")], pairs[:3, 0])
    assert skipped(source, "val") == {"val/00001": "unknown_class"}


def test_a_matrix_file_of_another_kind_says_what_it_begins_with(tmp_path):
    for what in "dat", "cat":
        (tmp_path / f"smallnorb-5x46789-training-{what}.mat").write_bytes(bytes(40))
    with pytest.raises(
        ValueError, match="not a matrix file of small NORB: it begins with 0x0, not"
    ):
        open_source(tmp_path)


def test_the_digits_come_with_scikit_learn():
    source = open_source("digits")
    train, val = images(source, "train"), images(source, "val")
    assert len(train) + len(val) == 1797
    held_out = Counter(entry.label for entry in val)
    each = Counter(entry.label for entry in train + val)
    assert held_out == {label: round(0.2 * count) for label, count in each.items()}
    assert source.native_size == 32
    assert train[0].content.dtype == np.uint8
    assert train[0].content.shape == (8, 8)
    assert max(entry.content.max() for entry in train) == 255


def test_a_fraction_is_not_taken_from_sources_with_a_validation_split(tmp_path):
    source = open_source(mnist_files(tmp_path)[0], val_fraction=0.2)
    assert source.remarks[-1].endswith("none of the training images is held out.")
    assert len(images(source, "train")) == 5
