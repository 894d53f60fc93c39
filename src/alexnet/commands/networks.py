"""`alexnet networks`: what networks there are, and what they consist of."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Networks:
    """List the networks: paper, input, parameters, multiply-adds."""

    layers: str | None = None
    """Print the layer table of this network instead."""
    classes: int | None = None
    """Count for this many classes."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Print the list, or one network's layers."""
        from alexnet import nets

        if self.layers is not None:
            rows = [dataclasses.asdict(x) for x in nets.list_layers(self.layers, self.classes)]
            print(json.dumps(rows, indent=2) if self.json else layer_table(rows))
            return 0
        found = [self._summary(name) for name in nets.NETS]
        print(json.dumps(found, indent=2) if self.json else network_table(found))
        return 0

    def _summary(self, name: str) -> dict[str, object]:
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


def network_table(rows: list[dict[str, object]]) -> str:
    """One network a line."""
    wide = max(len(str(row["name"])) for row in rows)
    heads = f"{'input':>11}{'classes':>9}{'parameters':>13}{'multiply-adds':>15}  paper"
    lines = [f"{'name':<{wide}}{heads}"]
    for row in rows:
        shape = "×".join(map(str, row["input"]))  # type: ignore[call-overload]
        lines.append(
            f"{row['name']:<{wide}}{shape:>11}{row['classes']:>9}{row['parameters']:>13,}"
            f"{row['multiply_adds']:>15,}  {row['paper']}"
        )
    return "\n".join(lines)


def layer_table(rows: list[dict[str, object]]) -> str:
    """One layer a line, and the sums."""
    lines = [f"{'layer':<8}{'output':>12}{'units':>10}{'parameters':>13}{'multiply-adds':>15}"]
    for row in rows:
        shape: tuple[int, ...] = row["shape"]  # type: ignore[assignment]
        lines.append(
            f"{row['name']:<8}{'×'.join(map(str, shape)):>12}{math.prod(shape):>10,}"
            f"{row['parameters']:>13,}{row['multiply_adds']:>15,}"
        )
    parameters, work = (sum(row[k] for row in rows) for k in ("parameters", "multiply_adds"))  # type: ignore[misc]
    return "\n".join([*lines, f"{'total':<30}{parameters:>13,}{work:>15,}"])
