"""Labeled images in all supported formats: `open_source(path)` recognizes the format of a path.

A `Source` has classes, splits and a stream of `Entry` (an image: its label, and the place of its
bytes) and `Skipped` (a file that is not used, with the reason). Images are decoded by `images`.

The modules and the formats that they read:

    a path that is                                          is read by       with the help of
    ─────────────────────────────────────────────────────  ───────────────  ───────────────────────
    train/CLASS/…, val/CLASS/… or CLASS/…: folder, tar, zip  class_folders    holdout (validation)
    a .csv, .tsv, .jsonl or .ndjson file                    image_list       list_lines, repeats
    ILSVRC-2010 or -2012: archives or folders, and a kit    ilsvrc           devkit, matlab
    CIFAR-10 or CIFAR-100, binary version                   cifar            fixed_size_records
    MNIST, Fashion-MNIST: IDX files                         mnist            fixed_size_records
    small NORB: binary matrix files                         norb             fixed_size_records
    the word "digits": scikit-learn's                       digits           holdout

`recognition` tries them in turn. They access a folder on disk (`directory`), a tar archive
(`tarball`, which reads members with `tar_format`) and a zip archive (`zip_tree`, with
`zip_members`) through one interface, `tree.Tree`. Files are
read through a `reader`, which decompresses; only regular files are opened (`regular_files`). Every
size that a file claims is checked against `limits`, and `names` has the rules on names.

To add a source: write a module with `recognize(tree, top) -> Source | None`, and add it to
`recognition`. `norb` is a short example.
"""

from alexnet.sources.entry import UNLABELED, Entry, Skipped, Source, Span
from alexnet.sources.recognition import open_source

__all__ = ["UNLABELED", "Entry", "Skipped", "Source", "Span", "open_source"]
