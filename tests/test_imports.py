"""Imports between modules: each folder only from those above it in `tests.layers`."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import LAYERS, shown, table

SOURCE = Path(__file__).parents[1] / "src" / "alexnet"
ORDER = {layer: position for position, layer in enumerate(LAYERS)}
ONLY = {
    "PIL": {
        "images.heif",
        "images.memory",
        "images.modes",
        "images.pillow",
        "images.png",
        "show.style",
    },
    "matplotlib": {"fonts", *(f"show.{path.stem}" for path in (SOURCE / "show").glob("*.py"))},
    "argparse": set(),
}


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield re.sub(r"(\.|^)__init__$", "", name), path


def get_position(module):
    """Return the position of a module's layer in the list."""
    return ORDER[module.partition(".")[0]]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_list_of_layers_is_complete_and_has_no_other_names():
    layers = {module.partition(".")[0] for module, _ in modules()}
    assert layers - {"", "__main__"} == set(LAYERS)


def test_contributing_md_shows_the_list_of_layers():
    assert shown() == table(), "update it with: python -m tests.layers"


@pytest.mark.parametrize(
    ("module", "path"), list(modules()), ids=[m or "alexnet" for m, _ in modules()]
)
def test_a_module_imports_only_from_the_layers_above_its_own(module, path):
    if module in ("", "__main__"):
        return
    names = {n.removeprefix("alexnet.") for n in imports(path) if n.startswith("alexnet.")}
    real = {m for m, _ in modules()}
    assert [n for n in names & real if get_position(n) > get_position(module)] == []


@pytest.mark.parametrize("library", ONLY)
def test_some_libraries_are_imported_by_listed_modules_only(library):
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
def test_modules_that_must_start_fast_do_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
