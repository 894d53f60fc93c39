"""The commands that repeat a training: parsed again, they give the same recipe and pack."""

import dataclasses
import os
import shlex
import shutil
import subprocess

import pytest
import tyro
from tests.conftest import QUICK, TRAINED

from alexnet.commands import COMMANDS
from alexnet.commands.recipe_options import RecipeChoice, get_given_fields
from alexnet.evaluation.scores import choose_scores_path, evaluate_run, write_scores
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe
from alexnet.show.repeating import (
    list_recipe_options,
    list_steps,
    quote_word,
    read_typed_command,
)
from alexnet.show.run_facts import read_run_facts

OTHERS = {
    "quick": QUICK,
    "pictures": TRAINED,
    "steps": Recipe(
        schedule="steps",
        steps=("0.1@25", "0.01@51.5"),
        rates=("conv1=0.1", "conv1=0@72"),
        bias_steps=("1",),
        variations=("unit=tanh", "without=conv3,conv4"),
        decays=("fc8=0.01",),
        noise_until=40,
        decay_biases=True,
        random_crop=False,
        seed=2**40,
        learning_rate=1e-7,
    ),
    "noise to the end": dataclasses.replace(RECIPES["original-145"], noise_until=None),
}


def parse(command):
    """Return what the command line makes of a command."""
    words = shlex.split(command)
    assert words[0] == "alexnet"
    return tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="alexnet", args=words[1:])


@pytest.mark.parametrize("recipe", [*RECIPES.values(), *OTHERS.values()], ids=[*RECIPES, *OTHERS])
def test_the_options_of_a_recipe_make_the_same_recipe(recipe):
    train = parse(shlex.join(["alexnet", "train", "PACK", "RUN", *list_recipe_options(recipe)]))
    choice = RecipeChoice(train.recipe, None, get_given_fields(train.changes))
    assert choice.make_recipe(train.recipe, 256) == recipe


def test_a_named_recipe_needs_no_other_option():
    assert list_recipe_options(RECIPES["small"]) == ["--recipe", "small"]
    assert list_recipe_options(dataclasses.replace(RECIPES["small"], flip=False)) == [
        *("--recipe", "small", "--flip", "False")
    ]


def test_the_steps_of_a_run_are_commands_that_parse(run, tiny_pack, tmp_path):
    copy = shutil.copytree(run, tmp_path / "a run")
    scores = evaluate_run(copy, split="train", device="cpu")
    write_scores(scores, choose_scores_path(scores))
    steps = list_steps(read_run_facts(copy))
    pack, train, evaluate, report = (parse(step.command) for step in steps)
    assert (pack.pack, pack.size, pack.upright) == (tiny_pack.path, 32, True)
    assert (train.images, train.run_folder, train.device) == (str(tiny_pack.path), copy, "cpu")
    assert (evaluate.runs, evaluate.split, evaluate.views) == ((copy,), "train", 1)
    assert report.run_folder == copy


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_quoted_word_is_read_by_a_shell_as_it_was():
    words = [
        "a b",
        "it's",
        "",
        "$HOME",
        "new\nline",
        "\x1b[2J'\\",
        "\u202eabc",
        "caf\xe9 \U0001f600",
    ]
    words += ["\udcff\udc80", "-x", "`id`"]
    quoted = [quote_word(word) for word in words]
    assert all(word.isprintable() for word in quoted)
    script = f"printf '%s\\0' {' '.join(quoted)}"
    done = subprocess.run(["bash", "-c", os.fsencode(script)], capture_output=True, check=True)
    assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


def test_the_typed_command_is_shown_only_if_it_is_one():
    assert read_typed_command({"command": ["/bin/alexnet", "train", "a b"]}) == (
        "alexnet train 'a b'"
    )
    for command in (None, [], "train", ["alexnet", 1], {"a": 1}):
        assert read_typed_command({"command": command}) is None
