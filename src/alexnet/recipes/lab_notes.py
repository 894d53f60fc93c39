"""The trainings of the 2012 code, as its lab notes and parameter files have them: plain data.

Each is a row of times, in epochs, at which somebody changed a rate by hand. Where the notes are
silent a comment says what was put there. An epoch of the notes is taken for that many finished
passes through the images; a data batch is 1,024 of them.
"""

from __future__ import annotations

from typing import Any

Training = dict[str, Any]
"""Fields of a Recipe."""

COMMON: Training = {
    "schedule": "steps",
    "bias_rate": 2.0,
    "mean_at": "center",
    "chunk": 32,
}
"""What all of them share, besides what the paper says too."""

NEVER = ("1",)
"""Biases that kept their rate of 0.02 to the end."""

LOW = "conv1", "conv2", "low2"
"""The layers that end early in the networks with a low-resolution path."""


def by_hand(
    network: str,
    drops: tuple[int, int, int],
    quiet: int,
    frozen: int,
    stop: int,
    *,
    early: tuple[str, ...] = ("conv1",),
    biases: tuple[str, ...] = NEVER,
) -> Training:
    """A training from random weights.

    At `drops` the rate becomes 0.001, 0.0001 and 0.00001. At `quiet` the color noise ends and the
    `early` layers go to 0.00001, before the others do; at `frozen` they stop.
    """
    first, second, third = drops
    ends = [f"{layer}=0.1@{quiet}" for layer in early] if quiet < frozen else []
    ends += [f"{layer}=0@{frozen}" for layer in early]
    return COMMON | {
        "network": network,
        "steps": (f"0.1@{first}", f"0.01@{second}", f"0.001@{third}"),
        "rates": tuple(ends),
        "bias_steps": biases,
        "noise_until": quiet,
        "epochs": stop,
    }


def once(epoch: int) -> tuple[str, ...]:
    """Biases at 0.002 in the end. When they were lowered is not noted: put at the first drop."""
    return "1", f"0.1@{epoch}"


FROM_RANDOM: dict[str, Training] = {
    # ILSVRC-2012: 40.7 % and 18.2 % with ten views; on 2010, 37.5 % and 17.0 %.
    "original-145": by_hand("original-145", (25, 51, 79), 67, 72, 91),
    "original-145-2010": by_hand("original-145", (23, 51, 78), 68, 72, 93, biases=once(23)),
    # When the others went to 0.00001 is not noted: as net 145.
    "original-145-half": by_hand("original-145-half", (20, 48, 78), 66, 72, 96),
    # When conv1 was lowered and the noise ended is not noted: as net 145.
    "original-147": by_hand("original-147", (23, 51, 79), 67, 79, 90, biases=once(23)),
    "original-148": by_hand("original-148", (22, 44, 86), 69, 73, 97),
    "original-150": by_hand("original-150", (25, 49, 79), 66, 72, 92),
    # Its schedule is not noted: as net 145.
    "original-167": by_hand("original-167", (25, 51, 79), 67, 72, 91),
    "original-120": by_hand("original-120", (22, 49, 81), 66, 73, 95, early=LOW),
    "original-120-2010": by_hand("original-120", (26, 47, 82), 66, 72, 106, early=LOW),
    "original-131": by_hand("original-131", (22, 46, 81), 66, 75, 100, early=LOW, biases=once(22)),
    "original-135": by_hand("original-135", (20, 47, 81), 66, 75, 96, early=LOW, biases=once(20)),
    "original-137": by_hand("original-137", (26, 50, 84), 75, 75, 99, early=LOW, biases=once(26)),
}
"""Sections 6 and 7 of the paper: what was trained from random weights."""

SLOW = tuple(f"conv{i}=0.1" for i in range(1, 6))
"""Convolutions that come from another training learn at 0.001, what is new at 0.01."""

FROM_TRAINED: dict[str, Training] = {
    # Net 145 once more from its end: 40.3 % and 18.0 %.
    "original-145-again": COMMON
    | {
        "network": "original-145",
        "learning_rate": 0.001,
        "steps": ("0.1@16", "0.01@33"),
        "rates": ("conv1=0",),
        "bias_rate": 20.0,
        "bias_steps": NEVER,
        "noise_until": 33,
        "epochs": 44,
    },
    # 10,184 classes; takes conv1 to conv5 of a net 145. Batch 1600 of 8,700 is a fifth of an epoch.
    "original-146-2009": COMMON
    | {
        "network": "original-146",
        "schedule": "constant",
        "rates": (*SLOW, *(f"{layer}=0.1@2.2" for layer in ("conv6", "fc6", "fc7", "fc8"))),
        "bias_steps": NEVER,
        "epochs": 7,
    },
    # 21,843 classes; takes conv1 to conv6 of the one before.
    "original-146-2011": COMMON
    | {
        "network": "original-146-2011",
        "schedule": "constant",
        "rates": (
            *SLOW,
            "conv6=0.1",
            *(f"{layer}=0.1@6" for layer in ("fc6", "fc7", "linear8", "fc8")),
        ),
        "bias_steps": NEVER,
        "epochs": 9,
    },
    # ILSVRC-2012; takes all but fc8: 39.0 % and 16.6 %. fc8 is fast from batch 300 of 1,251 on.
    "original-146-2012-2011": COMMON
    | {
        "network": "original-146",
        "learning_rate": 0.001,
        "steps": ("0.1@22", "0.01@42"),
        "rates": ("conv1=0.1", "conv1=0.01@5", "conv1=0@7", "fc8=10@0.24", "fc8=1@9"),
        "bias_rate": 20.0,
        "bias_steps": NEVER,
        "noise_until": 38,
        "epochs": 54,
    },
    # ILSVRC-2012; takes all but fc8 of the training on 10,184 classes: 39.1 % and 16.9 %.
    "original-146-2012-2009": COMMON
    | {
        "network": "original-146",
        "learning_rate": 0.001,
        "steps": ("0.1@22", "0.01@42"),
        "rates": ("conv1=0.1", "conv1=0.01@3", "conv1=0@4"),
        "bias_rate": 20.0,
        "bias_steps": NEVER,
        "noise_until": 38,
        "epochs": 52,
    },
}
"""Pre-training and fine-tuning: each wants `--init`, and docs/pretraining.md has the commands."""

SMALL: Training = {
    "schedule": "steps",
    "learning_rate": 0.001,
    "bias_rate": 2.0,
    "dropout": 0.0,
    "color_noise": 0.0,
    "mean_at": "center",
}
"""What the trainings on CIFAR-10 share; a bias rate of 0.002 is lowered with the others."""

ON_CIFAR: dict[str, Training] = {
    # How long the first two were trained is not noted: as the third.
    "cifar-19pct": SMALL
    | {
        "network": "cifar-19pct",
        "crop": 32,
        "flip": False,
        "decays": ("conv1=0.004", "conv2=0.004", "conv3=0.004", "fc4=3"),
        "steps": ("0.1@120", "0.01@130"),
        "epochs": 140,
    },
    "cifar-80sec": SMALL
    | {
        "network": "cifar-80sec",
        "crop": 32,
        "flip": False,
        "decays": ("conv1=0.004", "conv2=0.004", "conv3=0.004", "fc4=0.03", "fc5=0.03"),
        "steps": ("0.1@120", "0.01@130"),
        "epochs": 140,
    },
    "cifar-18pct": SMALL
    | {
        "network": "cifar-18pct",
        "crop": 32,
        "flip": False,
        "decays": ("conv1=0.004", "conv2=0.004", "conv3=0.004", "fc4=1"),
        "steps": ("0.1@120", "0.01@130"),
        "epochs": 140,
    },
    # How long is not noted: as the network it is compared with.
    "cifar-13pct": SMALL
    | {
        "network": "cifar-13pct",
        "crop": 24,
        "decays": ("conv1=0", "conv2=0", "local3=0.004", "local4=0.004", "fc5=0.004"),
        "steps": ("0.1@500", "0.01@510"),
        "epochs": 520,
    },
    "cifar-11pct": SMALL
    | {
        "network": "cifar-11pct",
        "crop": 24,
        "decays": ("conv1=0", "conv2=0", "local3=0.004", "local4=0.004", "fc5=0.01"),
        "steps": ("0.1@500", "0.01@510"),
        "epochs": 520,
    },
}
"""Section 3.3's 13 % and 11 %, and their smaller relatives."""

TRAININGS = FROM_RANDOM | FROM_TRAINED | ON_CIFAR
"""All of them by name; most are named as their network."""
