"""Recognizes the format of a source, by trying each format in turn.

`open_source` is the public function of this folder; packing, training and evaluation call it. Data
sets in their own formats are tried before folders of classes, and the contents of the folder itself
before an archive inside it.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from alexnet.sources import (
    cifar,
    class_folders,
    digits,
    ilsvrc,
    image_list,
    list_lines,
    mnist,
    norb,
)
from alexnet.sources.directory import Directory
from alexnet.sources.entry import Source
from alexnet.sources.holdout import HoldOut
from alexnet.sources.names import ARCHIVE, quote_names
from alexnet.sources.reader import open_reader
from alexnet.sources.tar_format import is_tar
from alexnet.sources.tarball import Tarball
from alexnet.sources.tree import Tree, join
from alexnet.sources.zip_members import is_zip_name
from alexnet.sources.zip_tree import ZipTree, is_zip

LOOKED_FOR = """\
  * folders train/CLASS/ and val/CLASS/ (or valid, validation, test), or only CLASS/; also in a tar
    or zip archive
  * a .csv, .tsv or .jsonl file with a path and a label in each line
  * ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz; or of 2010
  * the binary files of CIFAR-10 or CIFAR-100
  * train-images-idx3-ubyte and train-labels-idx1-ubyte (MNIST, Fashion-MNIST)
  * smallnorb-…-training-dat.mat and smallnorb-…-training-cat.mat
  * the word "digits": the scans that come with scikit-learn"""

MAX_DEPTH = 32  # folders that hold only one folder; deeper ones are not searched

_DATA_SETS = (cifar, mnist, norb, ilsvrc)
_CALTECH = ("101_ObjectCategories", "256_ObjectCategories")
_ARCHIVES = ("cifar-10-binary", "cifar-100-binary", *_CALTECH)


def open_source(
    path: str | Path,
    *,
    val_fraction: float | None = None,
    seed: int = 0,
    evaluation_split: str = "",
    group_by: str = "",
    val_list: str | Path | None = None,
    test_list: str | Path | None = None,
) -> Source:
    """Open the labeled images at `path`, in any supported format.

    Parameters
    ----------
    path
        A folder, an archive, a list, or "digits" for those of scikit-learn.
    val_fraction
        The fraction of each class to hold out for validation if the source has no validation
        split; by default one tenth (of "digits" one fifth). The choice needs another pass over the
        names, for which a compressed archive is decompressed a second time.
    seed
        Seed of the choice of the images that are held out.
    evaluation_split
        If given, the images are only to be evaluated: nothing is held out, and if the source has
        no splits, all images are in the split of this name.
    group_by
        Hold out whole groups of images, such as all photographs of one person: a regular expression
        that finds the group in `class/name`, or the name of a column of a list.
    val_list, test_list
        Text files with the names of the validation and of the test images, one a line.

    Raises FileNotFoundError, or ValueError with a list of the supported formats.
    """
    val_names, test_names = (None if x is None else Path(x) for x in (val_list, test_list))
    root = _find_root(Path(path))
    hold_out = HoldOut(val_fraction, seed, evaluation_split, group_by, val_names, test_names, root)
    source = _open(path, hold_out)
    has_both = {"train", "val"} <= set(source.splits)  # then it is the same as for a training
    return source if has_both else replace(source, evaluation_split=evaluation_split)


def _find_root(path: Path) -> Path:
    """The folder that names of images begin in; for an archive, its path without the ending."""
    if path.suffix.lower() in list_lines.EXTENSIONS and path.is_file():
        return path.parent
    return path if path.is_dir() else path.with_suffix("")


def _open(path: str | Path, hold_out: HoldOut) -> Source:
    if str(path) == digits.NAME:
        return digits.open_digits(hold_out)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Give a folder, an archive or a list of images, or "
            f"{digits.NAME!r} for the scans that come with scikit-learn"
        )
    if path.suffix.lower() in list_lines.EXTENSIONS and path.is_file():
        return image_list.open_list(path, hold_out)
    return _open_tree(_find_tree(path), hold_out)


def _find_tree(path: Path) -> Tree:
    """The folder or archive at a path; for a file of a data set, the folder that it is in."""
    if path.is_dir():
        return Directory(path)
    if not path.is_file():
        raise ValueError(f"{path} is neither a folder nor a file: pipes and devices are not read")
    if not ilsvrc.OFFICIAL.fullmatch(path.name) and (_is_tar(path) or ARCHIVE.search(path.name)):
        return Tarball(path)
    if is_zip(path):
        return ZipTree(path)
    folder = Directory(path.parent)
    if any(data_set.recognize(folder, "") for data_set in _DATA_SETS):
        return folder
    raise ValueError(f"{path} is not a source of labeled images. Looked for:\n{LOOKED_FOR}")


def _is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, whatever its name."""
    with open_reader(path) as reader:
        return is_tar(reader)


def _open_tree(tree: Tree, hold_out: HoldOut) -> Source:
    """Try each kind of source. Raises ValueError if none recognizes the tree."""
    if "pack.json" in tree.list_files(""):
        raise ValueError(f"{tree.path} is a pack already: use it where a pack is expected")
    roots = list(itertools.islice(_candidate_roots(tree), MAX_DEPTH))
    for top in roots:
        for data_set in _DATA_SETS:
            if source := data_set.recognize(tree, top):
                hold_out.check_usable(tree.path)
                return _with_own_splits(source, hold_out)
        if source := class_folders.recognize(tree, top, hold_out):
            return source
    if archive := _archive_inside(tree, roots[-1]):
        return _open_tree(_find_tree(archive), hold_out)
    for top in roots:
        if source := class_folders.recognize_single_class(tree, top, hold_out):
            return source
    raise ValueError(f"{_describe_contents(tree, roots[-1])} Looked for:\n{LOOKED_FOR}")


def _candidate_roots(tree: Tree) -> Iterator[str]:
    """Yield the root, then its only subfolder, then that folder's only subfolder, and so on."""
    top: str | None = ""
    while top is not None:
        inside = tree.list_folders(top)
        if "Annotations" in inside and (images := set(inside) & set(_CALTECH)):
            inside = list(images)  # Caltech has outlines of objects next to its images
        else:
            yield top
        top = join(top, inside[0]) if len(inside) == 1 else None


def _archive_inside(tree: Tree, top: str) -> Path | None:
    """The archive to read if a folder itself holds no images; None if that is not clear.

    It is the only archive of a known data set in the folder, or else the only archive.
    """
    if not isinstance(tree, Directory):
        return None
    files = tree.list_files(top)
    archives = [name for name in files if ARCHIVE.search(name) or is_zip_name(name)]
    known = [name for name in archives if ARCHIVE.sub("", name) in _ARCHIVES]
    candidates = known or archives
    return tree.path / top / candidates[0] if len(candidates) == 1 else None


def _with_own_splits(source: Source, hold_out: HoldOut) -> Source:
    """The source, with a remark if a hold-out was asked for and is not needed."""
    if not hold_out.fraction or "val" not in source.splits:
        return source
    remark = "It has a validation split, so none of the training images is held out."
    return replace(source, remarks=(*source.remarks, remark))


def _describe_contents(tree: Tree, top: str) -> str:
    """A sentence about the contents of a folder, for an error message."""
    folder = tree.path / top
    files, inside = tree.list_files(top), tree.list_folders(top)
    if not files and not inside:
        return f"{folder} is empty."
    if not inside:
        return (
            f"{folder} holds {quote_names(files, 3)} but no folders: the class of "
            "an image is the name of the folder it is in, or is given by a list."
        )
    return f"{folder} holds the folders {quote_names(inside, 3)}, without files inside."
