"""The layers of the package: each imports only from those above it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "alexnet"
ROWS = [
    [
        "lab_notes",
        "recipe",
        "data.decode",
        "data.pixels",
        "kernels",
        "learn.devices",
        "learn.processor",
        "terminal",
        "validate",
    ],
    [
        "learn.interrupt",
        "learn.log",
        "nets.layers",
        "data",
        "learn.sgd",
        "learn.schedule",
        "learn.step",
    ],
    ["nets"],
    ["learn.checkpoint", "measure.evaluate"],
    ["learn", "measure", "portable", "screen"],
    ["show"],
    ["claims"],
    ["commands"],
    ["cli"],
]
ONLY = {
    "PIL": {"data.decode", "show.figures"},
    "matplotlib": {"show.curves", "show.figures"},
    "argparse": set(),
}


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield re.sub(r"(\.|^)__init__$", "", name), path


def row_of(module):
    """The row of the longest prefix of the module's name."""
    ranked = [
        (len(p), r) for r, row in enumerate(ROWS) for p in row if (module + ".").startswith(p + ".")
    ]
    return max(ranked)[1] if ranked else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    ("module", "path"), list(modules()), ids=[m or "alexnet" for m, _ in modules()]
)
def test_a_module_imports_nothing_from_below(module, path):
    mine = row_of(module)
    if module in ("", "__main__"):
        return
    assert mine is not None, f"{module} stands in no row"
    names = {n.removeprefix("alexnet.") for n in imports(path) if n.startswith("alexnet.")}
    real = {m for m, _ in modules()}
    below = [n for n in names & real if (row_of(n) or 0) > mine]
    assert not below


@pytest.mark.parametrize("library", ONLY)
def test_some_libraries_have_one_home(library):
    users = {m for m, path in modules() if any(n.split(".")[0] == library for n in imports(path))}
    assert users <= ONLY[library]


@pytest.mark.parametrize(
    "module",
    ["alexnet", "alexnet.claims.page", "alexnet.cli", "alexnet.recipe", "alexnet.data.pack"],
)
def test_what_answers_at_once_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
