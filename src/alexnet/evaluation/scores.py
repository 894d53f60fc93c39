"""The scores of a run: which network was measured on which images, and what was counted."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.counts import VIEWS_AT_ONCE, Counts, evaluate
from alexnet.evaluation.images import pack_for
from alexnet.files import replace_json
from alexnet.packs.pack import Pack, open_pack


@dataclass(frozen=True)
class Member:
    """A trained network that was measured, alone or among others."""

    checkpoint: str
    sha256: str
    weight: float = 1.0

    @classmethod
    def of(cls, path: Path) -> Member:
        """The network of a checkpoint file."""
        with path.open("rb") as file:
            return cls(str(path), hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Scores:
    """SCORES of a network, or of several averaged, on the images of a split."""

    members: tuple[Member, ...]
    pack: Path
    pack_checksum: str
    split: str
    views: int
    classes: tuple[str, ...]
    counts: Counts = field(repr=False)
    left_out: int = 0
    """Images of classes that the network does not know."""

    @property
    def folder(self) -> Path:
        """The folder of the run, of the first where there are several."""
        return Path(self.members[0].checkpoint).parent

    def to_dict(self) -> dict[str, Any]:
        """As `scores.json` holds it."""
        counts = self.counts
        rows = zip(self.classes, counts.per_class.tolist(), strict=True)
        return {
            "seen": counts.seen,
            "wrong1": counts.wrong1,
            "wrong5": counts.wrong5,
            "top1_error": counts.top1,
            "top5_error": counts.top5,
            "loss": counts.loss,
            "left_out": self.left_out,
            "split": self.split,
            "views": self.views,
            **self._networks(),
            "pack": {"path": str(self.pack), "checksum": self.pack_checksum},
            "per_class": {
                name: {"seen": seen, "wrong1": wrong1, "wrong5": wrong5}
                for name, (seen, wrong1, wrong5) in rows
            },
        }

    def _networks(self) -> dict[str, Any]:
        rows = [
            {"path": x.checkpoint, "sha256": x.sha256, "weight": x.weight} for x in self.members
        ]
        if len(rows) > 1:
            return {"checkpoints": rows}
        del rows[0]["weight"]
        return {"checkpoint": rows[0]}

    def text(self, per_class: bool = False) -> str:
        """A table for people."""
        c = self.counts
        averaged = "center view" if self.views == 1 else f"{self.views} views averaged"
        lines = [f"{x.checkpoint}, weight {x.weight:.3g}" for x in self.members]
        who = f"{len(lines)} networks averaged,"
        if len(self.members) == 1:
            who, lines = self.members[0].checkpoint, []
        lines += [
            f"{who} on {c.seen:,} images ({self.split} of {self.pack}), {averaged}",
            f"  top-1 error {c.top1:7.2%}   {c.wrong1:,} of {c.seen:,} wrong",
            f"  top-5 error {c.top5:7.2%}   {c.wrong5:,} of {c.seen:,} wrong",
            f"  loss {c.loss:.4f} nats",
        ]
        if self.left_out:
            lines.append(f"  {self.left_out:,} images of unknown classes were left out")
        if per_class:
            lines += ["", f"{'top-1':>8} {'top-5':>8} {'images':>8}  class"]
            rows = zip(self.classes, c.per_class.tolist(), strict=True)
            lines += [
                f"{w1 / n:8.2%} {w5 / n:8.2%} {n:8,}  {name}" if n else f"{'0':>26}  {name}"
                for name, (n, w1, w5) in rows
            ]
        return "\n".join(lines)


def measure(
    run: str | Path,
    pack: str | Path | None = None,
    *,
    split: str = "val",
    views: int = 1,
    device: str = "auto",
    ignore_unknown: bool = False,
    batch_size: int = VIEWS_AT_ONCE,
) -> Scores:
    """Measure the network of a run on a split of a pack (by default the one it was trained on).

    Images that are not a pack are packed first as the network wants them, beside the run. Classes
    are matched by name. Raises FileNotFoundError for a missing run or pack, ValueError for a
    missing split or, unless `ignore_unknown`, for images of classes the network does not know.
    """
    path, trained, images = opened(run, pack, split)
    preprocessing, machine = trained.adapt_preprocessing(images), devices.set_up_machine(device)
    counts = evaluate(
        devices.move_to_device(trained.build_network(), machine),
        images.splits[split],
        preprocessing.to(machine.device),
        len(trained.classes),
        machine,
        n_views=views,
        batch_size=batch_size,
        relabel=relabeling(trained, images, split, ignore_unknown),
    )
    return Scores(
        members=(Member.of(path),),
        pack=images.path,
        pack_checksum=images.checksum,
        split=split,
        views=views,
        classes=trained.classes,
        counts=counts,
        left_out=len(images.splits[split]) - counts.seen,
    )


def opened(run: str | Path, pack: str | Path | None, split: str) -> tuple[Path, Checkpoint, Pack]:
    """A run's checkpoint file, what is in it, and the pack: by default that of its training.

    What is not a pack is packed first, beside the run (see `images.pack_for`).

    Raises FileNotFoundError where one is missing, ValueError for a split that is not there.
    """
    path = checkpoints.find(run)
    trained = checkpoints.load(path)
    images = pack_for(pack, path, trained, split) if pack else open_pack(trained_on(path))
    if split not in images.splits or not len(images.splits[split]):
        there = [name for name, one in images.splits.items() if len(one)]
        raise ValueError(f"{images.path} has no {split} images; it has {', '.join(there)}")
    return path, trained, images


def relabeling(
    trained: Checkpoint, pack: Pack, split: str, ignore_unknown: bool, unlabeled: bool = False
) -> NDArray[np.int64]:
    """The network's label of each of the pack's classes; −1 where it has none.

    Classes are the same if their names are, or else their WordNet ids.
    Raises ValueError for images of such classes, unless `ignore_unknown`, and for images without
    a label, unless `unlabeled`.
    """
    index = {wordnet_id: i for i, wordnet_id in enumerate(trained.wordnet_ids or ())}
    index |= {name: i for i, name in enumerate(trained.classes)}
    ids = pack.wordnet_ids or pack.classes
    found = [index.get(name, index.get(i, -1)) for name, i in zip(pack.classes, ids, strict=True)]
    relabel = np.array(found, np.int64)
    labels = pack.splits[split].labels
    if (none := int((labels < 0).sum())) and not unlabeled:
        raise ValueError(
            f"{none:,} {split} images of {pack.path} have no label to compare with. Write what the "
            "network says of them: --submission FILE, or --dump FILE.npz"
        )
    unknown = [pack.classes[i] for i in np.unique(labels[labels >= 0]) if relabel[i] < 0]
    if unknown and not ignore_unknown:
        raise ValueError(
            f"{len(unknown)} classes of {pack.path} are unknown to the network: "
            f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}. Leave them out: "
            "--ignore-unknown"
        )
    return relabel


def write(scores: Scores, path: Path) -> None:
    """Write `scores.json`, whole or not at all."""
    replace_json(path, scores.to_dict())


def default_path(scores: Scores) -> Path:
    """Where the scores of one network are kept: in the folder of its run, one file a measurement.

    `scores.json` is the center view of the `val` images of the pack that the run was trained on.
    Any other says what was measured: `scores-train.json`, `scores-val-10-views.json`,
    `scores-<pack>-<checksum>-val.json`; and `-last` where it was not the checkpoint that a run is
    otherwise measured by.
    """
    checkpoint, words = Path(scores.members[0].checkpoint), []
    if runs.read_pack_description(checkpoint.parent).get("checksum") != scores.pack_checksum:
        name = re.sub(r"[^\w.]+", "_", scores.pack.resolve().name)[:40]
        words = [name, scores.pack_checksum[:8]]
    if words or scores.split != "val" or scores.views != 1:
        words.append(scores.split)
    if scores.views != 1:
        words += [str(scores.views), "views"]
    if checkpoint.name != checkpoints.find(scores.folder).name:
        words.append(checkpoint.stem)
    return scores.folder / f"{'-'.join(['scores', *words])}.json"


def trained_on(checkpoint: Path) -> Path:
    """The pack that a checkpoint was trained on: where it was, else where it is from the run.

    Raises FileNotFoundError where it is not there any more, or was never described.
    """
    described, folder = runs.read_pack_description(checkpoint.parent), checkpoint.parent
    places = [Path(described["path"])] if "path" in described else []
    if "relative" in described:
        places.append(folder.resolve() / described["relative"])
    there = [place for place in places if (place / "pack.json").is_file()]
    for place in there:
        with suppress(OSError, ValueError):
            if open_pack(place).checksum == described.get("checksum"):
                return place
    if there:
        return there[0]
    name = f"alexnet evaluate {checkpoint} PACK"
    if places:
        where = " nor at ".join(dict.fromkeys(str(Path(os.path.normpath(x))) for x in places))
        raise FileNotFoundError(
            f"the pack that {checkpoint} was trained on is not at {where}. Name it: {name}"
        )
    raise FileNotFoundError(
        f"{folder / 'environment.json'} does not say what {checkpoint} was trained on. Name a "
        f"pack: {name}"
    )
