"""The layers of the package: each imports only from those above it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import LAYERS, shown, table

SOURCE = Path(__file__).parents[1] / "src" / "alexnet"
ORDER = {layer: place for place, layer in enumerate(LAYERS)}
ONLY = {
    "PIL": {"images.decode", "show.figures"},
    "matplotlib": {"show.figures"},
    "argparse": set(),
}


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield re.sub(r"(\.|^)__init__$", "", name), path


def place_of(module):
    """Where the layer of a module stands in the list."""
    return ORDER[module.partition(".")[0]]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_layer_is_in_the_list_and_nothing_else():
    there = {module.partition(".")[0] for module, _ in modules()}
    assert there - {"", "__main__"} == set(LAYERS)


def test_the_list_of_layers_is_the_one_that_contributors_read():
    assert shown() == table(), "python -m tests.layers writes it anew"


@pytest.mark.parametrize(
    ("module", "path"), list(modules()), ids=[m or "alexnet" for m, _ in modules()]
)
def test_a_module_imports_only_from_the_layers_above_its_own(module, path):
    if module in ("", "__main__"):
        return
    names = {n.removeprefix("alexnet.") for n in imports(path) if n.startswith("alexnet.")}
    real = {m for m, _ in modules()}
    assert [n for n in names & real if place_of(n) > place_of(module)] == []


@pytest.mark.parametrize("library", ONLY)
def test_some_libraries_have_one_home(library):
    users = {m for m, path in modules() if any(n.split(".")[0] == library for n in imports(path))}
    assert users <= ONLY[library]


@pytest.mark.parametrize(
    "module",
    [
        "alexnet",
        "alexnet.claims.page",
        "alexnet.cli",
        "alexnet.recipes.recipe",
        "alexnet.packing.pack",
    ],
)
def test_what_answers_at_once_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
