"""The scores of a run: its errors, with the network and the images that they were measured with.

`evaluate_run` is public as `alexnet.evaluate`. Scores are kept in the run's folder as JSON
(`write_scores`, `choose_scores_path`), in the form that `Scores.to_dict` returns.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet import checkpoint as checkpoints
from alexnet import device as devices
from alexnet import runs
from alexnet.checkpoint import Checkpoint
from alexnet.evaluation.confusion import ClassScores
from alexnet.evaluation.counts import VIEWS_PER_BATCH, Counts, evaluate, has_top5
from alexnet.evaluation.measured_pack import open_run_and_pack
from alexnet.files import replace_json
from alexnet.packs.background_check import check_while_reading
from alexnet.packs.pack import Pack
from alexnet.processes import ALONE, World
from alexnet.terminal import escape_unprintable, format_count

UNEVEN = 2
"""Classes are uneven if the largest has at least so many times the images of the smallest."""
MISTAKES = 10
"""Pairs of classes that are listed as the most frequent mistakes."""


@dataclass(frozen=True)
class WeightedCheckpoint:
    """A checkpoint file whose network was measured, and the network's weight in the average."""

    checkpoint: str
    """The path of the file."""
    sha256: str
    """The hash of its content, which identifies the network."""
    weight: float = 1.0
    """The network's share of the averaged probabilities; 1 for a network by itself."""

    @classmethod
    def of(cls, path: Path) -> WeightedCheckpoint:
        """Make it from a checkpoint file, which is hashed."""
        with path.open("rb") as file:
            return cls(str(path), hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Scores:
    """The errors of a network, or of the average of several, on the images of a split."""

    members: tuple[WeightedCheckpoint, ...]
    """The networks that were averaged; often one."""
    pack: Path
    pack_checksum: str
    split: str
    views: int
    """Views per image whose probabilities were averaged: 1, 5 or 10."""
    classes: tuple[str, ...]
    """The classes of the network, in the order of its outputs."""
    counts: Counts = field(repr=False)
    left_out: int = 0
    """Images that were left out because the network does not know their class."""

    def __repr__(self) -> str:
        """Return the errors on one line, and what they were measured on."""
        c = self.counts
        top5 = f"top-5 error {c.top5:.2%}, " if has_top5(len(self.classes)) else ""
        views = format_count(self.views, "view")
        return (
            f"Scores(top-1 error {c.top1:.2%}, {top5}loss {c.loss:.4f} nats; "
            f"{format_count(c.seen, f'{self.split} image')} of {str(self.pack)!r}, {views})"
        )

    def _repr_html_(self) -> str:
        """Return the table of `text` for a notebook. Names are escaped."""
        return f"<pre>{html.escape(escape_unprintable(self.text(), chr(10)))}</pre>"

    @property
    def folder(self) -> Path:
        """The folder of the run; of the first run if there are several."""
        return Path(self.members[0].checkpoint).parent

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `scores.json`.

        Errors and the loss are means per image; "seen", "wrong1" and "wrong5" are the counts;
        "mistakes" are the most frequent ones. Scores that are not defined are null, and so is the
        top-5 error of five classes or fewer, which is always 0. Of one network there is a
        "checkpoint", of several there are "checkpoints" with weights.
        """
        counts = self.counts
        rows = zip(self.classes, counts.per_class.tolist(), strict=True)
        scores = counts.score_classes()
        return {
            "seen": counts.seen,
            "wrong1": counts.wrong1,
            "wrong5": counts.wrong5,
            "top1_error": counts.top1,
            "top5_error": counts.top5 if has_top5(len(self.classes)) else None,
            "loss": counts.loss,
            "left_out": self.left_out,
            "split": self.split,
            "views": self.views,
            **self._describe_networks(),
            "pack": {"path": str(self.pack), "checksum": self.pack_checksum},
            "per_class": {
                name: {"seen": seen, "wrong1": wrong1, "wrong5": wrong5}
                for name, (seen, wrong1, wrong5) in rows
            },
            "balanced_accuracy": _to_json(scores.balanced_accuracy),
            "class_scores": {
                name: {"precision": _to_json(p), "recall": _to_json(r), "f1": _to_json(f)}
                for name, p, r, f in zip(
                    self.classes, scores.precision, scores.recall, scores.f1, strict=True
                )
            },
            "mistakes": [
                {"class": self.classes[i], "predicted": self.classes[j], "images": n}
                for i, j, n in counts.find_mistakes(MISTAKES)
            ],
        }

    def _describe_networks(self) -> dict[str, Any]:
        rows = [
            {"path": x.checkpoint, "sha256": x.sha256, "weight": x.weight} for x in self.members
        ]
        if len(rows) > 1:
            return {"checkpoints": rows}
        del rows[0]["weight"]
        return {"checkpoint": rows[0]}

    def text(self, per_class: bool = False) -> str:
        """Return the errors as a table for people; with `per_class`, with a line per class."""
        c = self.counts
        averaged = "center view" if self.views == 1 else f"{self.views} views averaged"
        lines = [f"{x.checkpoint}, weight {x.weight:.3g}" for x in self.members]
        networks = f"{len(lines)} networks averaged,"
        if len(self.members) == 1:
            networks, lines = self.members[0].checkpoint, []
        lines += [
            f"{networks} on {format_count(c.seen, 'image')} ({self.split} of {self.pack}), "
            f"{averaged}",
            f"  top-1 error {c.top1:7.2%}   {c.wrong1:,} of {c.seen:,} wrong",
        ]
        if has_top5(len(self.classes)):
            lines.append(f"  top-5 error {c.top5:7.2%}   {c.wrong5:,} of {c.seen:,} wrong")
        lines.append(f"  loss {c.loss:.4f} nats")
        if self.left_out:
            left_out = format_count(self.left_out, "image")
            lines.append(f"  left out: {left_out} of unknown classes")
        scores = c.score_classes()
        lines += self._describe_balance(scores, per_class)
        if per_class:
            lines += ["", *self._format_classes(scores), *self._format_mistakes()]
        return "\n".join(lines)

    def _describe_balance(self, scores: ClassScores, always: bool) -> list[str]:
        """Lines on the numbers of images of the classes, if these are uneven, or `always`."""
        seen = scores.seen[scores.seen > 0]
        uneven = bool(len(seen)) and seen.max() >= UNEVEN * seen.min()
        lines = []
        if uneven:
            lines.append(
                f"  the classes are uneven: {seen.min():,} to {seen.max():,} images; in the top-1 "
                "error, large classes count more"
            )
        if uneven or always:
            accuracy = scores.balanced_accuracy
            lines.append(f"  balanced accuracy {accuracy:.2%} (the mean recall of the classes)")
        return lines

    def _format_classes(self, scores: ClassScores) -> list[str]:
        """A table with a line per class; "-" is a number that is not defined."""
        wrong5 = scores.top5_error
        columns = {
            "top-1": scores.top1_error,
            **({"top-5": wrong5} if has_top5(len(self.classes)) else {}),
            "precision": scores.precision,
            "recall": scores.recall,
            "F1": scores.f1,
        }
        rows = zip(scores.seen.tolist(), self.classes, *columns.values(), strict=True)
        return [
            "".join(f"{name:>10}" for name in columns) + f"{'images':>9}  class",
            *(
                "".join(f"{_format_share(x):>10}" for x in numbers) + f"{n:>9,}  {name}"
                for n, name, *numbers in rows
            ),
        ]

    def _format_mistakes(self) -> list[str]:
        """The most frequent mistakes, a line for each."""
        pairs = self.counts.find_mistakes(MISTAKES)
        if not pairs:
            return []
        return [
            "",
            "most frequent mistakes (class → predicted class):",
            *(f"{n:>8,}  {self.classes[i]} → {self.classes[j]}" for i, j, n in pairs),
        ]


def _to_json(share: float) -> float | None:
    """A share of 1, or None (null) where it is not defined."""
    return None if np.isnan(share) else float(share)


def _format_share(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.2%}"


def evaluate_run(
    run: str | os.PathLike[str],
    pack: str | os.PathLike[str] | None = None,
    *,
    split: str = "val",
    views: int = 1,
    device: str = "auto",
    ignore_unknown: bool = False,
    batch_size: int = VIEWS_PER_BATCH,
    world: World = ALONE,
) -> Scores:
    """Measure the top-1 and top-5 error of a run's network on every image of a split.

    Args:
        run: a run's folder (its `best` checkpoint, else its `last`), what `alexnet.train` returned,
            or a checkpoint file.
        pack: a pack (its path, or a Pack), or images, which are packed first (packs/NAME.pack),
            as the network needs them. By default the pack that the run was trained on.
        split: which images of the pack.
        views: 1 (center crop), 10 (section 4.1), or 5 (the ten without mirror images).
        device: auto, cpu, cuda, or cuda:1 for the second GPU.
        ignore_unknown: leave out images of classes that the network does not know.
        batch_size: views per batch.
        world: the processes that share the images. All of them call this function with the same
            arguments, and all get the scores of all images, with the same bits as one process.

    Classes of the pack and of the network are matched by name. Raises FileNotFoundError if the run
    or the pack is missing; ValueError if the split is missing, if images have no labels, if there
    are images of unknown classes and `ignore_unknown` is False, or if a file of the split does not
    agree with its checksum, which is checked in the background.

    >>> scores = alexnet.evaluate("run", views=10)
    >>> scores.counts.seen
    12
    >>> 0 <= scores.counts.top1 <= 1
    True
    """
    path, trained, opened = open_run_and_pack(run, pack, split, ignore_unknown)
    preprocessing, machine = trained.adapt_preprocessing(opened), devices.set_up_machine(device)
    relabel = match_classes(trained, opened, split, ignore_unknown)
    member = WeightedCheckpoint.of(path)
    files = {"checkpoint": member.sha256, "pack": opened.checksum, "split": split}
    kind = {"device": machine.device.type, "precision": machine.precision}
    world.agree({**files, "views": views, **kind})
    with check_while_reading(opened, split):
        counts = evaluate(
            devices.move_to_device(trained.build_network(), machine),
            opened.splits[split],
            preprocessing.to(machine.device),
            len(trained.classes),
            machine,
            n_views=views,
            batch_size=batch_size,
            relabel=relabel,
            world=world,
        )
    world.barrier()  # no process has found a damaged file
    return Scores(
        members=(member,),
        pack=opened.path,
        pack_checksum=opened.checksum,
        split=split,
        views=views,
        classes=trained.classes,
        counts=counts,
        left_out=len(opened.splits[split]) - counts.seen,
    )


def match_classes(
    trained: Checkpoint, pack: Pack, split: str, ignore_unknown: bool, unlabeled: bool = False
) -> NDArray[np.int64]:
    """Return the network's index of each class of the pack, or −1: int64 (classes of the pack,).

    Classes are the same if their names are equal, or else if their WordNet ids are. Raises
    ValueError if the split has images of classes that the network does not know, unless
    `ignore_unknown`, and if it has images without a label, unless `unlabeled`.
    """
    index = {wordnet_id: i for i, wordnet_id in enumerate(trained.wordnet_ids or ())}
    index |= {name: i for i, name in enumerate(trained.classes)}
    ids = pack.wordnet_ids or pack.classes
    indices = [index.get(name, index.get(i, -1)) for name, i in zip(pack.classes, ids, strict=True)]
    relabel = np.array(indices, np.int64)
    labels = pack.splits[split].labels
    if (n_unlabeled := int((labels < 0).sum())) and not unlabeled:
        raise ValueError(
            f"there is no label to compare with for {format_count(n_unlabeled, f'{split} image')} "
            f"of {pack.path}. Write the network's predictions instead: --submission FILE, or "
            "--dump FILE.npz"
        )
    unknown = [pack.classes[i] for i in np.unique(labels[labels >= 0]) if relabel[i] < 0]
    if unknown and not ignore_unknown:
        raise ValueError(
            f"unknown to the network: {format_count(len(unknown), 'class')} of {pack.path}, "
            f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}. Leave them out: "
            "--ignore-unknown"
        )
    return relabel


def write_scores(scores: Scores, path: Path) -> None:
    """Write scores as JSON, atomically."""
    replace_json(path, scores.to_dict())


def choose_scores_path(scores: Scores) -> Path:
    """Return where the scores of one network are kept: a file per measurement in the run's folder.

    `scores.json` is the center view of the `val` images of the pack that the run was trained on.
    Other names say what was measured: `scores-train.json`, `scores-val-10-views.json`,
    `scores-<pack>-<checksum>-val.json`; with `-last` if the checkpoint is not the one that a run
    is measured with by default.
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
