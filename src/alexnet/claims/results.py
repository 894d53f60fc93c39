"""What was measured, as files: `NAME.json` holds every measurement of a claim.

Counts and where they come from; whatever is a rate or a verdict is computed when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet.claims.claim import Claim, Data, Quantity, Record
from alexnet.files import replace_json
from alexnet.validate import check, read_json

SHIPPED = Path(__file__).parent / "results"
"""Results that come with the package."""

WHOLE_DATA = 0.99
"""Share of the paper's images that a pack has to have to pass for the paper's."""


@dataclass(frozen=True)
class Measurement:
    """A claim measured once, on some images, with one or several seeds."""

    claim: str
    records: tuple[Record, ...]
    """One a seed."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """name, kind, images (in training), classes, size and checksum of the pack."""
    earlier: tuple[Mapping[str, Any], ...] = ()
    """The same of the packs that were trained on first."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipes that somebody set by hand."""
    recipe: str | None = None
    """The recipe that somebody named."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """command, commit, machine, versions and date; precision is that of the trainings."""
    remark: str = ""
    """What somebody has to say to it: the one field that is written by hand."""

    def values(self, quantity: Quantity) -> list[float]:
        """A number of the claim, for each seed."""
        return [quantity.read(record) for record in self.records]

    def alone(self, quantity: Quantity) -> float:
        """The margin of error that a single seed has."""
        return quantity.alone(self.records[0])

    def epochs(self) -> tuple[int, int] | None:
        """(the fewest that were run, of how many); None where nothing was trained."""
        runs = [run for record in self.records for run in record["runs"].values()]
        pairs = [(run["epochs"], run["of_epochs"]) for run in runs if "of_epochs" in run]
        return min(pairs, key=lambda pair: pair[0] / pair[1]) if pairs else None

    def is_the_papers(self, claim: Claim) -> bool:
        """Whether it was made on the paper's data, whole and to the end."""
        if claim.data is None:
            return True
        epochs = self.epochs()
        packs = zip((claim.data, *claim.earlier), (self.data, *self.earlier), strict=False)
        whole = all(same_images(data, pack) for data, pack in packs)
        plain = not (set(self.changes) - {"epochs"}) and self.recipe is None
        to_the_end = (epochs is None or epochs[0] >= epochs[1]) and not self.unfinished()
        return whole and plain and to_the_end

    def unfinished(self) -> list[str]:
        """Roles that did not reach the finish of their race."""
        runs = [pair for record in self.records for pair in record["runs"].items()]
        return sorted({role for role, run in runs if run.get("reached", 0.0) is None})

    def label(self) -> str:
        """On what it was measured, and how it departs from the whole training."""
        if not self.data:
            return "—"
        name, images, size = (self.data[key] for key in ("name", "images", "size"))
        parts = [f"{name} ({images:,} images of {size}×{size})"]
        if epochs := self.epochs():
            parts.append(f"{epochs[0]} of {epochs[1]} epochs" if epochs[0] < epochs[1] else "")
        changes = {name: value for name, value in self.changes.items() if name != "epochs"}
        parts += [f"{name} {worded(value)}" for name, value in changes.items()]
        parts.append(f"recipe {self.recipe}" if self.recipe else "")
        parts += [f"{role} never got there" for role in self.unfinished()]
        return ", ".join(part for part in parts if part)

    @property
    def key(self) -> tuple[object, ...]:
        """What another measurement has to share to take its place."""
        changes = json.dumps(dict(self.changes), sort_keys=True)
        precision = self.made.get("precision")
        return self.data.get("checksum"), self.epochs(), changes, self.recipe, precision


def worded(value: object) -> str:
    """A field of a recipe as one types it: several values with spaces between."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def same_images(data: Data, pack: Mapping[str, Any]) -> bool:
    """Whether a pack holds the images that a claim is about, all of them."""
    return bool(pack["kind"] == data.kind and pack["images"] >= WHOLE_DATA * data.images)


def load(name: str, folder: Path) -> list[Measurement]:
    """The measurements of a claim in a folder of results. Raises ValueError for a damaged file."""
    path = folder / f"{name}.json"
    if not path.exists():
        return []
    try:
        stored = check(read_json(path), dict[str, Any], str(path)).get("measurements")
        listed = check(stored, list[dict[str, Any]], "measurements")
        found: list[Measurement] = [
            check({**kept, "claim": name}, Measurement, f"measurements[{i}]")
            for i, kept in enumerate(listed)
        ]
        for measurement in found:  # what every page shows of it
            measurement.label(), hash(measurement.key)
        return found
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(
            f"{path} does not hold the results of a claim ({error!r}). Move it away and run "
            f"alexnet claims run {name} again"
        ) from error


def known(name: str, folder: Path) -> list[Measurement]:
    """The measurements in a folder, and those shipped that it does not replace."""
    mine = load(name, folder)
    replaced = {measurement.key for measurement in mine}
    return [m for m in load(name, SHIPPED) if m.key not in replaced] + mine


def save(measurement: Measurement, folder: Path) -> Path:
    """Put a measurement among the others of its claim, in place of one of the same key."""
    others = [m for m in load(measurement.claim, folder) if m.key != measurement.key]
    content = [{k: v for k, v in asdict(m).items() if k != "claim"} for m in (*others, measurement)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{measurement.claim}.json"
    replace_json(path, {"claim": measurement.claim, "measurements": content}, indent=1)
    return path
