"""Measurements, and the files that hold them: results/NAME.json has all those of one claim.

    {"claim": "ten-views",
     "measurements": [{"records": [seed result, …], "data": {…}, "earlier": […], "changes": {…},
                       "recipe": null, "made": {"commit": …, "date": …, …}, "remark": ""}, …]}

A file holds counts and their origin; error rates and verdicts are computed when it is read. The
package includes results (`SHIPPED`); those of the user are in claims/results.

`measuring` makes measurements; `table`, `page` and `commands.claims` read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet.claims.claim import Claim, Dataset, Quantity, SeedResult
from alexnet.files import replace_json
from alexnet.terminal import format_count
from alexnet.validate import check, read_json

SHIPPED = Path(__file__).parent / "results"
"""The folder of the results that come with the package."""

WHOLE_DATA = 0.99
"""A pack counts as the paper's dataset if it has at least this fraction of its training images."""

KEYS_IN_FILES = {"seed_results": "records", "pretraining": "earlier", "origin": "made"}
"""The keys in the files of those fields of `Measurement` that have other names there."""


@dataclass(frozen=True)
class Measurement:
    """A claim measured on one dataset with one recipe, for one seed or several."""

    claim: str
    """The name of the claim."""
    seed_results: tuple[SeedResult, ...]
    """The counts of every seed."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The pack: name, kind, images (for training), classes, size, checksum. Empty if no images."""
    pretraining: tuple[Mapping[str, Any], ...] = ()
    """The same facts about the packs of the pre-trainings."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The recipe fields that the user changed."""
    recipe: str | None = None
    """The recipe that the user named."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Command, commit, machine, versions and date; precision is that of the trainings."""
    remark: str = ""
    """A comment for readers: the one field that is written by hand."""

    def values(self, quantity: Quantity) -> list[float]:
        """The value of a quantity for each seed."""
        return [quantity.statistic(seed_result) for seed_result in self.seed_results]

    def single_seed_margin(self, quantity: Quantity) -> float:
        """Half the width of the 95 % interval of a single seed, from the counts of the first."""
        return quantity.single_seed_margin(self.seed_results[0])

    def role_counts(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(role, counts) of every training of every seed."""
        return [pair for seed_result in self.seed_results for pair in seed_result["runs"].items()]

    def epochs(self) -> tuple[int, int] | None:
        """(epochs run, epochs of the recipe) of the most shortened training; None if untrained."""
        counts = [counts for _, counts in self.role_counts() if "of_epochs" in counts]
        pairs = [(role["epochs"], role["of_epochs"]) for role in counts]
        return min(pairs, key=lambda pair: pair[0] / pair[1]) if pairs else None

    def is_on_paper_data(self, claim: Claim) -> bool:
        """Whether it was made by full, unchanged training on the paper's own dataset."""
        if claim.dataset is None:
            return True
        epochs = self.epochs()
        datasets, packs = (claim.dataset, *claim.pretraining), (self.data, *self.pretraining)
        complete = all(map(is_complete, datasets, packs))
        unchanged = not (set(self.changes) - {"epochs"}) and self.recipe is None
        finished = (epochs is None or epochs[0] >= epochs[1]) and not self.roles_short_of_target()
        return complete and unchanged and finished

    def roles_short_of_target(self) -> list[str]:
        """Roles that never reached the target error; only for claims about convergence."""
        roles = self.role_counts()
        return sorted({role for role, counts in roles if counts.get("reached", 0.0) is None})

    def label(self) -> str:
        """The dataset, and how the training differs from a full one, for the table."""
        if not self.data:
            return "—"
        name, images, size = (self.data[key] for key in ("name", "images", "size"))
        parts = [f"{name} ({format_count(images, 'image')} of {size}×{size})"]
        if epochs := self.epochs():
            parts.append(
                f"{epochs[0]} of {format_count(epochs[1], 'epoch')}"
                if epochs[0] < epochs[1]
                else ""
            )
        changes = {name: value for name, value in self.changes.items() if name != "epochs"}
        parts += [f"{name} {format_field(value)}" for name, value in changes.items()]
        parts.append(f"recipe {self.recipe}" if self.recipe else "")
        parts += [f"{role} never reached the target" for role in self.roles_short_of_target()]
        return ", ".join(part for part in parts if part)

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies repeats: a new measurement replaces a saved one with an equal key."""
        changes = json.dumps(dict(self.changes), sort_keys=True)
        precision = self.origin.get("precision")
        return self.data.get("checksum"), self.epochs(), changes, self.recipe, precision


def format_field(value: object) -> str:
    """Format the value of a recipe field as on the command line: several values with spaces."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def is_complete(dataset: Dataset, pack: Mapping[str, Any]) -> bool:
    """Return whether a pack (as in `Measurement.data`) holds all images of a dataset."""
    return bool(pack["kind"] == dataset.kind and pack["images"] >= WHOLE_DATA * dataset.images)


def load(name: str, folder: Path) -> list[Measurement]:
    """Load the measurements of a claim from a folder. Raises ValueError for a damaged file."""
    path = folder / f"{name}.json"
    if not path.exists():
        return []
    try:
        stored = check(read_json(path), dict[str, Any], str(path)).get("measurements")
        listed = check(stored, list[dict[str, Any]], "measurements")
        measurements: list[Measurement] = [
            check({**_rename_to_fields(saved), "claim": name}, Measurement, f"measurements[{i}]")
            for i, saved in enumerate(listed)
        ]
        for measurement in measurements:  # both read nested values, which `check` does not know
            measurement.label(), hash(measurement.key)
        return measurements
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(
            f"{path} does not hold the results of a claim ({error!r}). Move it away and run "
            f"alexnet claims run {name} again"
        ) from error


def load_with_shipped(name: str, folder: Path) -> list[Measurement]:
    """Load the shipped measurements of a claim, and those in a folder, which replace their equals.

    Two measurements are equal if their keys are. Raises ValueError as `load` does.
    """
    own = load(name, folder)
    replaced = {measurement.key for measurement in own}
    return [m for m in load(name, SHIPPED) if m.key not in replaced] + own


def save(measurement: Measurement, folder: Path) -> Path:
    """Save a measurement among the others of its claim, in place of one with an equal key.

    Returns the path of the file. Raises OSError if it cannot be written.
    """
    others = [m for m in load(measurement.claim, folder) if m.key != measurement.key]
    content = [_rename_to_keys(asdict(m)) for m in (*others, measurement)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{measurement.claim}.json"
    replace_json(path, {"claim": measurement.claim, "measurements": content}, indent=1)
    return path


def _rename_to_fields(saved: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: name for name, key in KEYS_IN_FILES.items()}
    return {fields.get(key, key): value for key, value in saved.items()}


def _rename_to_keys(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {KEYS_IN_FILES.get(name, name): v for name, v in fields.items() if name != "claim"}
