"""Makes an index: the output of a layer of a network for the images of a pack.

`build_index` is public as `alexnet.build_index`, and `alexnet features` calls it. It finds the
network, the pack and the layer, and compares them with what is in the folder already; `writing`
computes and writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from alexnet import device as devices
from alexnet import runs
from alexnet.evaluation.measured_pack import MakePack, ensure_pack, load_run
from alexnet.evaluation.scores import WeightedCheckpoint
from alexnet.files import LOCK, lock_folder
from alexnet.packs.pack import Pack
from alexnet.predict import Classifier
from alexnet.search.index import FeatureIndex, open_index
from alexnet.search.schema import (
    CheckpointReference,
    FeatureType,
    IndexOrigin,
    PackReference,
    SplitPart,
)
from alexnet.search.writing import (
    JOURNAL,
    FeatureProgress,
    IndexJournal,
    IndexWriter,
    read_journal,
)
from alexnet.sources.names import quote_names
from alexnet.terminal import format_count

SPLIT = "train"
"""The split that images without splits are in, if they are packed here."""


def build_index(
    run: str | os.PathLike[str],
    images: str | os.PathLike[str] | Pack,
    index: str | os.PathLike[str],
    *,
    layer: str | None = None,
    split: str | None = None,
    dtype: FeatureType = "float16",
    device: str = "auto",
    progress: Callable[[FeatureProgress], None] | None = None,
    make_pack: MakePack | None = None,
) -> FeatureIndex:
    """Write the features of images into the folder `index`, go on with that, or open it if done.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`), what `alexnet.train` returned,
            or a checkpoint file.
        images: a pack, or images, which are packed first (packs/NAME.pack), as the network
            needs them. Their classes need not be those of the network.
        index: the folder to make. Its parents are made, too.
        layer: the layer whose output is stored, flattened. By default the last hidden layer, which
            is fc7 of the paper's network: 4096 activations after the nonlinearity.
        split: the split of the pack to take; by default all of them, in the order of the pack.
        dtype: float16 takes half the space and rounds to 11 bits; float32 keeps every bit.
        device: auto, cpu, cuda, or cuda:1 for the second GPU.
        progress: called after each batch.
        make_pack: makes the pack of images that are not packed, as
            `commands.pack.pack_next_to_run_with_bar` does; by default without showing progress.

    Raises FileNotFoundError if the run or the images are missing; FileExistsError if `index` holds
    something else; ValueError for an unknown layer or split, a pack of another size, and features
    that `dtype` cannot hold; BlockingIOError if another process is making the same index.

    >>> index = alexnet.build_index("run", "photos.pack", "val.index", layer="conv3", split="val")
    >>> len(index), index.dimensions
    (12, 3136)
    """
    path, trained = load_run(run)
    machine = devices.set_up_machine(device)
    with closing(
        Classifier(trained.build_network(), trained.classes, trained.preprocessing, machine)
    ) as classifier:
        layer, _ = find_layer(classifier, layer)  # an unknown one is refused before packing
    pack = (
        images
        if isinstance(images, Pack)
        else ensure_pack(images, path, trained, SPLIT, make_pack, any_classes=True)
    )
    folder = Path(index)
    parts = trained.build_network(), trained.classes, trained.adapt_preprocessing(pack)
    with closing(Classifier(*parts, machine)) as classifier:
        origin = describe_origin(classifier, path, pack, folder, layer, split, dtype)
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder, "writing features"):
            journal = _begin_or_resume(folder, origin)
            if journal is not None:
                IndexWriter(folder, journal, classifier, pack, progress).write()
    return open_index(folder)


def describe_origin(
    classifier: Classifier,
    checkpoint: Path,
    pack: Pack,
    folder: Path,
    layer: str | None,
    split: str | None,
    dtype: FeatureType,
) -> IndexOrigin:
    """Describe what an index will hold.

    Raises ValueError for a layer that the network does not have, for a split that the pack does
    not have, and if there are no images.
    """
    layer, shape = find_layer(classifier, layer)
    if split is not None and split not in pack.splits:
        raise ValueError(f"{pack.path} has no split {split!r}; it has {', '.join(pack.splits)}")
    chosen = [split] if split is not None else list(pack.splits)
    parts = [SplitPart(name, len(pack.splits[name])) for name in chosen if len(pack.splits[name])]
    if not parts:
        raise ValueError(f"{pack.path} has no images in {', '.join(chosen)}")
    return IndexOrigin(
        layer=layer,
        shape=shape,
        dimensions=int(np.prod(shape)),
        dtype=dtype,
        classes=pack.classes,
        checkpoint=refer_to_checkpoint(checkpoint),
        pack=PackReference(**runs.describe_pack(pack.path, pack.checksum, folder)),
        splits=tuple(parts),
    )


def find_layer(classifier: Classifier, name: str | None) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of a layer, by default of the last hidden one.

    Raises ValueError for a layer that the network does not have.
    """
    shapes = classifier.list_layers()
    name = name or list(shapes)[-2]
    if name not in shapes:
        raise ValueError(f"the network has no layer {name!r}; it has {', '.join(shapes)}")
    return name, shapes[name]


def refer_to_checkpoint(path: Path) -> CheckpointReference:
    """Return the absolute path of a checkpoint file and the hash of its content."""
    return CheckpointReference(str(path.absolute()), WeightedCheckpoint.of(path).sha256)


def _begin_or_resume(folder: Path, origin: IndexOrigin) -> IndexJournal | None:
    """Return the journal to go on from, a new one, or None if the index is finished.

    Raises FileExistsError if the folder holds something else than this index or a part of it.
    """
    if (folder / "index.json").is_file():
        _check_same(open_index(folder).metadata.origin, origin, folder)
        (folder / JOURNAL).unlink(missing_ok=True)  # left by a kill just before it was removed
        return None
    if journal := read_journal(folder):
        _check_same(journal.origin, origin, folder)
        return journal
    if others := [x.name for x in folder.iterdir() if x.name != LOCK and not _is_draft(x)]:
        raise FileExistsError(
            f"{folder} is not empty and holds no index (there is {quote_names(sorted(others), 3)})"
            ": name a new folder for the index"
        )
    journal = IndexJournal(origin, [])
    journal.save(folder)
    return journal


def _is_draft(path: Path) -> bool:
    """Whether a file is what a kill leaves of the very first write, that of the journal."""
    return path.name.startswith(f".{JOURNAL}.") and path.name.endswith(".partial")


def _check_same(there: IndexOrigin, wanted: IndexOrigin, folder: Path) -> None:
    """Raise FileExistsError if the index in a folder is another one than the one to be made.

    Where the checkpoint and the pack are does not matter.
    """
    facts = {
        "the layer": (there.layer, wanted.layer),
        "the type": (there.dtype, wanted.dtype),
        "the network": (there.checkpoint.sha256, wanted.checkpoint.sha256),
        "the pack": (there.pack.checksum, wanted.pack.checksum),
        "the splits": tuple(
            ", ".join(
                f"{part.name} ({format_count(part.images, 'image')})" for part in origin.splits
            )
            for origin in (there, wanted)
        ),
    }
    for what, (old, new) in facts.items():
        if old != new:
            raise FileExistsError(
                f"{folder} holds another index: {what} is {old[:60]} there, and {new[:60]} now. "
                "Name another folder, or delete that one"
            )
