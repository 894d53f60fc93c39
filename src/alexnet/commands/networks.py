"""`alexnet networks`: the list of networks, or the layers of one with their parameters.

torch is imported only when the command runs.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Networks:
    """List the networks with their input, parameters, multiply-adds and paper, or one's layers."""

    layers: str | None = None
    """Name of a network. Print a table of its layers instead of the list."""
    classes: int | None = None
    """Number of classes for the counts; by default the network's own."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Print the list of networks, or the layers of one. Raises ValueError for another name."""
        from alexnet import nets

        if self.layers is not None:
            rows = [dataclasses.asdict(row) for row in nets.list_layers(self.layers, self.classes)]
            print(json.dumps(rows, indent=2) if self.json else format_layers(rows))
            return 0
        networks = [self._summarize(name) for name in nets.NETS]
        print(json.dumps(networks, indent=2) if self.json else format_networks(networks))
        return 0

    def _summarize(self, name: str) -> dict[str, object]:
        from alexnet import nets

        net, rows = nets.NETS[name], nets.list_layers(name, self.classes)
        return {
            "name": name,
            "paper": net.paper,
            "input": [3, net.size, net.size],
            "classes": self.classes or net.classes,
            "parameters": sum(row.parameters for row in rows),
            "multiply_adds": sum(row.multiply_adds for row in rows),
        }


def format_networks(rows: list[dict[str, object]]) -> str:
    """Return the table of networks, one per line."""
    width = max(len(str(row["name"])) for row in rows)
    heads = f"{'input':>11}{'classes':>9}{'parameters':>13}{'multiply-adds':>15}  paper"
    lines = [f"{'name':<{width}}{heads}"]
    for row in rows:
        shape = "×".join(map(str, row["input"]))  # type: ignore[call-overload]
        lines.append(
            f"{row['name']:<{width}}{shape:>11}{row['classes']:>9}{row['parameters']:>13,}"
            f"{row['multiply_adds']:>15,}  {row['paper']}"
        )
    return "\n".join(lines)


def format_layers(rows: list[dict[str, object]]) -> str:
    """Return the table of layers, one per line, and the sums of the last two columns.

    "units" are the outputs for one image; multiply-adds are those of one image's forward pass.
    """
    lines = [f"{'layer':<8}{'output':>12}{'units':>10}{'parameters':>13}{'multiply-adds':>15}"]
    for row in rows:
        shape: tuple[int, ...] = row["shape"]  # type: ignore[assignment]
        lines.append(
            f"{row['name']:<8}{'×'.join(map(str, shape)):>12}{math.prod(shape):>10,}"
            f"{row['parameters']:>13,}{row['multiply_adds']:>15,}"
        )
    keys = "parameters", "multiply_adds"
    parameters, multiply_adds = (sum(row[key] for row in rows) for key in keys)  # type: ignore[misc]
    return "\n".join([*lines, f"{'total':<30}{parameters:>13,}{multiply_adds:>15,}"])
