"""Finding out what a path holds."""

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

LOOKED_FOR = """\
  * folders train/CLASS/ and val/CLASS/ (or valid, validation, test), or only CLASS/; also in a tar
  * a .csv, .tsv or .jsonl file with a path and a label in each line
  * ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz; or of 2010
  * the binary files of CIFAR-10 or CIFAR-100
  * train-images-idx3-ubyte and train-labels-idx1-ubyte (MNIST, Fashion-MNIST)
  * smallnorb-…-training-dat.mat and smallnorb-…-training-cat.mat
  * the word "digits": the scans that come with scikit-learn"""

WRAPPINGS = 32  # folders in folders that hold nothing else; more are no one's intention

_DATA_SETS = (cifar, mnist, norb, ilsvrc)
_CALTECH = ("101_ObjectCategories", "256_ObjectCategories")
_ARCHIVES = ("cifar-10-binary", "cifar-100-binary", *_CALTECH)


def open_source(
    path: str | Path, *, val_fraction: float | None = None, seed: int = 0, measured: str = ""
) -> Source:
    """Find labeled images at `path`, of whichever kind; "digits" are those of scikit-learn.

    Where the source has no validation split, `val_fraction` of each class (one tenth unless given)
    is held out by `seed`; choosing takes one more pass over the names, for which a compressed
    archive is decompressed once more. `measured` says that the images are there to be measured:
    then nothing is held out, and where there are no splits, all images are in the one of this
    name. Raises FileNotFoundError, or ValueError with what was looked for.
    """
    hold_out = HoldOut(val_fraction, seed, measured)
    if str(path) == digits.NAME:
        return digits.open_digits(hold_out)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is nothing at {path}. Give a folder, an archive or a list of images, or "
            f"{digits.NAME!r} for the scans that come with scikit-learn"
        )
    if path.suffix.lower() in list_lines.ENDINGS and path.is_file():
        return image_list.open_list(path, hold_out)
    return _open_tree(_tree(path), hold_out)


def _tree(path: Path) -> Tree:
    """The folder or archive that a path means: for a file of a data set, the folder around it."""
    if path.is_dir():
        return Directory(path)
    if not path.is_file():
        raise ValueError(f"{path} is neither a folder nor a file: pipes and devices are not read")
    if not ilsvrc.OFFICIAL.fullmatch(path.name) and (_is_tar(path) or ARCHIVE.search(path.name)):
        return Tarball(path)
    whole = Directory(path.parent)
    if any(data_set.recognize(whole, "") for data_set in _DATA_SETS):
        return whole
    raise ValueError(f"{path} is no source of labeled images. Looked for:\n{LOOKED_FOR}")


def _is_tar(path: Path) -> bool:
    with open_reader(path) as reader:
        return is_tar(reader)


def _open_tree(tree: Tree, hold_out: HoldOut) -> Source:
    if "pack.json" in tree.files(""):
        raise ValueError(f"{tree.path} is a pack already: use it where a pack is wanted")
    tops = list(itertools.islice(_tops(tree), WRAPPINGS))
    for top in tops:
        for data_set in _DATA_SETS:
            if source := data_set.recognize(tree, top):
                return _with_own_splits(source, hold_out)
        if source := class_folders.recognize(tree, top, hold_out):
            return source
    if archive := _archive_inside(tree, tops[-1]):
        return _open_tree(Tarball(archive), hold_out)
    for top in tops:
        if source := class_folders.single_class(tree, top, hold_out):
            return source
    raise ValueError(f"{_what_is_there(tree, tops[-1])} Looked for:\n{LOOKED_FOR}")


def _tops(tree: Tree) -> Iterator[str]:
    """The top, and what is below it as long as that is the one folder that can be meant."""
    top: str | None = ""
    while top is not None:
        inside = tree.folders(top)
        if "Annotations" in inside and (images := set(inside) & set(_CALTECH)):
            inside = list(images)  # Caltech's outlines of objects lie beside its images
        else:
            yield top
        top = join(top, inside[0]) if len(inside) == 1 else None


def _archive_inside(tree: Tree, top: str) -> Path | None:
    """The archive that a folder was made for: one of a known data set, or the only one."""
    if not isinstance(tree, Directory):
        return None
    archives = [name for name in tree.files(top) if ARCHIVE.search(name)]
    known = [name for name in archives if ARCHIVE.sub("", name) in _ARCHIVES]
    meant = known or archives
    return tree.path / top / meant[0] if len(meant) == 1 else None


def _with_own_splits(source: Source, hold_out: HoldOut) -> Source:
    if not hold_out.fraction or "val" not in source.splits:
        return source
    remark = "It has a validation split, so none of the training images is held out."
    return replace(source, remarks=(*source.remarks, remark))


def _what_is_there(tree: Tree, top: str) -> str:
    where = tree.path / top
    files, inside = tree.files(top), tree.folders(top)
    if not files and not inside:
        return f"{where} is empty."
    if not inside:
        return (
            f"{where} holds {quote_names(files, 3)} but no folders: the class of "
            "an image is the name of the folder it is in, or is given by a list."
        )
    return f"{where} holds the folders {quote_names(inside, 3)}, without files inside."
