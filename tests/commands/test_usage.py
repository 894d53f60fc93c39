"""Mistyped commands, options and values end in a suggestion from the command that was typed."""

import pytest

from alexnet.commands import COMMANDS
from alexnet.commands.foreign_names import MEANINGS, MEANINGS_WITH_VALUE
from alexnet.commands.options import list_options
from alexnet.commands.usage import UsageError, check_words


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("pak photos", "Did you mean pack?"),
        ("fit photos", "Did you mean train?"),
        ("train x --learnign-rate 1", "Did you mean --learning-rate?"),
        ("train x --lr 1", "Did you mean --learning-rate X?"),
        ("train x -lr 1", "Did you mean --learning-rate X?"),
        ("train x --batch 1", "Did you mean --batch-size N?"),
        ("train x --bs 1", "Did you mean --batch-size N?"),
        ("train x --imgsz 1", "Did you mean --crop N?"),
        ("pack x --imgsz 1", "Did you mean --size N?"),
        ("pack x --workers 1", "Did you mean --processes N?"),
        ("train x --workers 1", "no such option is needed"),
        ("train x --wd 1", "Did you mean --weight-decay X?"),
        ("train x --model y", "Did you mean --network NAME?"),
        ("train x --pretrained y", "Did you mean --init PATH?"),
        ("train x --cpu", "Did you mean --device cpu?"),
        ("predict r x --gpu", "Did you mean --device cuda?"),
        ("train x --output y", "alexnet train IMAGES [RUN]"),
        ("train x -o y", "alexnet train IMAGES [RUN]"),
        ("predict x --model y", "alexnet predict RUN IMAGES…"),
        ("train x --no-flip", "Did you mean --flip False?"),
        ("train x --recipe smal", "Did you mean small?"),
        ("train x --precision bf15", "Did you mean bf16?"),
        ("train x --device gpu", "Did you mean cuda?"),
        ("train x --device=cud", "Did you mean cuda?"),
        ("train x --schedule cos", "Did you mean cosine?"),
        ("train x --epochs 1.5", "must be a whole number"),
        ("train x --epochs", "--epochs N"),
        ("train", "alexnet train IMAGES [RUN]"),
        ("train --epochs 3", "`alexnet train` needs IMAGES: alexnet train IMAGES [RUN]"),
        ("train a b c", "c: `alexnet train` takes at most 2 arguments without a name"),
        ("train a b --epochs 3 c d", "c d: `alexnet train` takes at most 2 arguments"),
        ("train -- a b -c", "-c: `alexnet train` takes at most 2"),
        ("similar x", "needs INDEX and IMAGES…: alexnet similar RUN INDEX IMAGES…"),
        ("similar x -k 3 y", "needs IMAGES…"),
        ("similar", "needs RUN, INDEX and IMAGES…"),
        ("predict x", "needs IMAGES…"),
        ("networks x", "`alexnet networks` takes none: alexnet networks."),
        ("claims rum", "Did you mean run?"),
        ("train --version", "`alexnet --version` prints the version"),
        ("similar -V", "`alexnet --version` prints the version"),
        ("photos/x train", "alexnet train photos/x"),
    ],
)
def test_a_wrong_word_is_answered_with_what_was_meant(line, meant):
    with pytest.raises(UsageError) as caught:
        check_words(line.split(), COMMANDS)
    assert meant in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_suggestions_are_never_options_of_another_command():
    with pytest.raises(UsageError) as caught:
        check_words(["predict", "r", "x", "--batch", "3"], COMMANDS)
    assert "batch-size" not in str(caught.value)
    names = {*MEANINGS_WITH_VALUE, *(name for names in MEANINGS.values() for name in names)}
    for command, kind in COMMANDS.items():
        own = {option.name for option in list_options(kind) if not option.is_positional}
        for name in names - own:
            with pytest.raises(UsageError) as caught:
                check_words([command, f"--{name}", "1"], COMMANDS)
            for word in str(caught.value).split("`alexnet")[1].replace("?", " ").split():
                if word.startswith("--") and word.rstrip(".,") != f"--{name}":
                    assert word.rstrip(".,").removeprefix("--").removeprefix("no-") in own


@pytest.mark.parametrize(
    "line",
    [
        "train x run --epochs 3 --rates conv1=0 conv2=0.1@3 --no-compile --flip False --resume",
        "train x --batch_size=3 --learning-rate 1e-3 --color-noise -1",
        "evaluate a b --views 10 --weights 1 -2",
        "similar x y z -k 3 --device cuda:1",
        "claims run relu-tanh --pack p",
        "demo",
        "train x --rates conv1=0 conv2=1 --resume run",
        "train --resume run x",
        "train --rates conv1=0 x",
        "train --no-compile x -- run",
        "evaluate --dumps a b c",
        "evaluate",
        "export run a.onnx",
    ],
)
def test_a_right_line_is_left_alone(line):
    check_words(line.split(), COMMANDS)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("train a b c", "alexnet: c: `alexnet train` takes at most 2 arguments"),
        ("similar x", "needs INDEX and IMAGES"),
        ("similar x y -k 3 z --device cpu w", "Unrecognized options: w"),
        ("evaluate --weights a", "--weights a: the value must be a number"),
        ("train x --resume a b c", "(`alexnet train --help`)"),
        ("train x --crop=", "--crop : the value must be a whole number"),
    ],
)
def test_every_usage_error_is_one_line_of_this_program(line, meant, capsys):
    from alexnet.cli import main

    with pytest.raises(SystemExit) as end:
        main(line.split())
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert meant in error
    assert error.startswith("alexnet: ")
    assert error.count("\n") == 1
    assert not {*error} & {*"│╭╰─"}
