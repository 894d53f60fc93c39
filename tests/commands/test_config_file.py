"""`--config FILE`: recipes come back as they were printed, mistakes end in one line."""

import json

import pytest
import tyro

from alexnet.commands import COMMANDS
from alexnet.commands.config_file import format_recipe, insert_config
from alexnet.commands.recipe_options import RecipeChoice, get_given_fields
from alexnet.commands.usage import UsageError, check_words
from alexnet.recipes.named import RECIPES

FILE = "settings.toml"


def parse(*words):
    """Return the command `train` of these words, after its file has been read."""
    line = insert_config(["train", "photos", *map(str, words)], COMMANDS)
    check_words(line, COMMANDS)
    return tyro.extras.subcommand_cli_from_dict(COMMANDS, args=line)


def make_recipe(command):
    choice = RecipeChoice(command.recipe, None, get_given_fields(command.changes))
    return choice.make_recipe(command.recipe, 256)


@pytest.mark.parametrize("name", RECIPES)
def test_a_printed_recipe_is_read_back_as_the_same_recipe(name, tmp_path):
    path = tmp_path / FILE
    path.write_text(format_recipe(name, RECIPES[name].to_dict()))
    assert make_recipe(parse("--config", path)) == RECIPES[name]


@pytest.mark.parametrize("name", ["small", "original-145", "cifar-11pct"])
def test_the_recipe_file_of_a_run_is_read_as_its_recipe(name, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPES[name].to_dict()))
    assert make_recipe(parse("--config", path)) == RECIPES[name]


def test_options_on_the_command_line_win_over_the_file(tmp_path):
    path = tmp_path / FILE
    path.write_text(
        'recipe = "small"\nepochs = 10\nrates = ["conv1=0", "conv2=0.1"]\nlearning-rate = 1\n'
        'flip = false\ncompile = true\nprecision = "bf16"\nsave_minutes = 3\ninit = "runs/a b"\n'
    )
    command = parse("--config", path, "--epochs=3", "--precision", "auto", "--no-compile")
    assert command.recipe == "small"
    assert command.changes.epochs == 3
    assert command.changes.rates == ("conv1=0", "conv2=0.1")
    assert command.changes.learning_rate == 1.0
    assert command.changes.flip is False
    assert (command.precision, command.compiled, command.save_minutes) == ("auto", False, 3.0)
    assert str(command.init) == "runs/a b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lr = 1", "Did you mean learning_rate?"),
        ("epoch = 1", "Did you mean epochs?"),
        ("weigth_decay = 1", "Did you mean weight_decay?"),
        ("dry_run = true", "belongs on the command line"),
        ('images = "x"', "belongs on the command line"),
        ('epochs = "3"', "not a whole number"),
        ("epochs = 1.5", "not a whole number"),
        ("epochs = true", "not a whole number"),
        ("learning_rate = nan", "not a finite number"),
        ("learning_rate = 2024-01-01", "not a number"),
        ("flip = 1", "not true or false"),
        ('rates = "conv1=0"', "not a list"),
        ("rates = [1]", "not a text"),
        ('precision = "bf15"', "Did you mean bf16?"),
        ("precision = 3", "There are auto"),
        ("[epochs]\nx = 1", "is a table"),
        ("epochs = ", "no valid TOML"),
        ("a = " + "[" * 5000, "no valid TOML"),
        (b"\xff\xfe", "no valid TOML"),
        ("x" * (1 << 21), "more than"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(content, message, tmp_path):
    path = tmp_path / FILE
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        parse("--config", path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        parse("--config", "none.toml")
