"""The trainings of the 2012 code, from its lab notes and parameter files, as recipes.

In 2012 people watched a training and changed its learning rates by hand; the notes give the epoch
of every change. Where the notes are silent, a comment says what was assumed. "Epoch N" of the notes
is taken to mean that N passes through the images are done; a batch of the notes has 1,024 images.

`recipes.named` adds these to the recipes with a name. Imports no torch.
"""

from __future__ import annotations

from functools import partial

from alexnet.recipes.factors import LayerDecay, RateFactor, make_factors
from alexnet.recipes.recipe import Recipe

imagenet = partial(Recipe, schedule="steps", bias_rate=2.0, mean_at="center", chunk=32)
"""A recipe with what all ImageNet trainings below share and the paper does not have."""

CONSTANT = make_factors({0: 1})
"""`bias_steps` of trainings whose biases kept their rate of 0.02 to the end."""

LOW_RESOLUTION = "conv1", "conv2", "low2"
"""The layers that stop first in the networks with a low-resolution path."""


def lower_biases_at(epoch: int) -> tuple[RateFactor, ...]:
    """Return the `bias_steps` of a training whose biases ended at a rate of 0.002.

    The notes do not say when it was lowered; the epoch of the first drop is assumed.
    """
    return make_factors({0: 1, epoch: 0.1})


def make_training(
    network: str,
    drops: tuple[int, int, int],
    noise_until: int,
    frozen: int,
    epochs: int,
    *,
    early: tuple[str, ...] = ("conv1",),
    biases: tuple[RateFactor, ...] = CONSTANT,
) -> Recipe:
    """Return a training from random weights, which ends after `epochs`.

    At the epochs `drops` the learning rate becomes 0.001, 0.0001 and 0.00001. At `noise_until` the
    color noise ends and the rate of the layers `early` becomes 0.00001, before that of the others
    does; at `frozen` these layers stop.
    """
    first, second, third = drops
    lowered = [RateFactor(0.1, noise_until, layer) for layer in early if noise_until < frozen]
    stopped = [RateFactor(0, frozen, layer) for layer in early]
    return imagenet(
        network=network,
        steps=make_factors({first: 0.1, second: 0.01, third: 0.001}),
        rates=(*lowered, *stopped),
        bias_steps=biases,
        noise_until=noise_until,
        epochs=epochs,
    )


FROM_RANDOM: dict[str, Recipe] = {
    # (network, (three drops), noise_until, frozen, epochs)
    # ILSVRC-2012: 40.7 % and 18.2 % with ten views; on 2010, 37.5 % and 17.0 %.
    "original-145": make_training("original-145", (25, 51, 79), 67, 72, 91),
    "original-145-2010": make_training(
        "original-145", (23, 51, 78), 68, 72, 93, biases=lower_biases_at(23)
    ),
    # The notes do not say when the last drop was; 78 is assumed, as for original-145-2010.
    "original-145-half": make_training("original-145-half", (20, 48, 78), 66, 72, 96),
    # The notes do not say when conv1 was lowered and the noise ended; 67 is assumed, as for
    # original-145.
    "original-147": make_training(
        "original-147", (23, 51, 79), 67, 79, 90, biases=lower_biases_at(23)
    ),
    "original-148": make_training("original-148", (22, 44, 86), 69, 73, 97),
    "original-150": make_training("original-150", (25, 49, 79), 66, 72, 92),
    # The notes have no schedule; that of net 145 is assumed.
    "original-167": make_training("original-167", (25, 51, 79), 67, 72, 91),
    "original-120": make_training("original-120", (22, 49, 81), 66, 73, 95, early=LOW_RESOLUTION),
    "original-120-2010": make_training(
        "original-120", (26, 47, 82), 66, 72, 106, early=LOW_RESOLUTION
    ),
    "original-131": make_training(
        "original-131",
        (22, 46, 81),
        66,
        75,
        100,
        early=LOW_RESOLUTION,
        biases=lower_biases_at(22),
    ),
    "original-135": make_training(
        "original-135",
        (20, 47, 81),
        66,
        75,
        96,
        early=LOW_RESOLUTION,
        biases=lower_biases_at(20),
    ),
    "original-137": make_training(
        "original-137",
        (26, 50, 84),
        75,
        75,
        99,
        early=LOW_RESOLUTION,
        biases=lower_biases_at(26),
    ),
}
"""Sections 6 and 7 of the paper: the networks that were trained from random weights."""

SLOW_CONVOLUTIONS = tuple(RateFactor(0.1, layer=f"conv{i}") for i in range(1, 6))
"""Convolutions from an earlier training learn at a rate of 0.001, new layers at 0.01."""


def lower_at(epoch: float, *layers: str) -> tuple[RateFactor, ...]:
    """Return the factors that lower the rates of these layers to a tenth at an epoch."""
    return tuple(RateFactor(0.1, epoch, layer) for layer in layers)


fine_tuning = partial(imagenet, learning_rate=0.001, bias_rate=20.0, bias_steps=CONSTANT)
"""What the trainings on ILSVRC-2012 share that begin with trained weights."""

FROM_TRAINED: dict[str, Recipe] = {
    # Net 145 trained once more from its end: 40.3 % and 18.0 %.
    "original-145-again": fine_tuning(
        network="original-145",
        steps=make_factors({16: 0.1, 33: 0.01}),
        rates=make_factors({0: 0}, "conv1"),
        noise_until=33,
        epochs=44,
    ),
    # 10,184 classes; takes conv1 to conv5 of a net 145. Batch 1600 of 8,700 is a fifth of an epoch.
    "original-146-2009": imagenet(
        network="original-146",
        schedule="constant",
        rates=(*SLOW_CONVOLUTIONS, *lower_at(2.2, "conv6", "fc6", "fc7", "fc8")),
        bias_steps=CONSTANT,
        epochs=7,
    ),
    # 21,843 classes; takes conv1 to conv6 of the training above.
    "original-146-2011": imagenet(
        network="original-146-2011",
        schedule="constant",
        rates=(
            *SLOW_CONVOLUTIONS,
            *lower_at(0, "conv6"),
            *lower_at(6, "fc6", "fc7", "linear8", "fc8"),
        ),
        bias_steps=CONSTANT,
        epochs=9,
    ),
    # ILSVRC-2012; takes all layers but fc8 of original-146-2011: 39.0 % and 16.6 %. fc8 is fast
    # from batch 300 of 1,251 on.
    "original-146-2012-2011": fine_tuning(
        network="original-146",
        steps=make_factors({22: 0.1, 42: 0.01}),
        rates=(
            *make_factors({0: 0.1, 5: 0.01, 7: 0}, "conv1"),
            *make_factors({0.24: 10, 9: 1}, "fc8"),
        ),
        noise_until=38,
        epochs=54,
    ),
    # ILSVRC-2012; takes all layers but fc8 of original-146-2009: 39.1 % and 16.9 %.
    "original-146-2012-2009": fine_tuning(
        network="original-146",
        steps=make_factors({22: 0.1, 42: 0.01}),
        rates=make_factors({0: 0.1, 3: 0.01, 4: 0}, "conv1"),
        noise_until=38,
        epochs=52,
    ),
}
"""Pre-training and fine-tuning. Each needs `--init RUN`; docs/networks-2012.md has the commands."""

cifar = partial(
    Recipe,
    schedule="steps",
    learning_rate=0.001,
    bias_rate=2.0,
    dropout=0.0,
    color_noise=0.0,
    mean_at="center",
)
"""A recipe with what all trainings on CIFAR-10 share. Their biases begin at a rate of 0.002, which
is lowered with that of the weights."""

whole_images = partial(cifar, crop=32, flip=False, steps=make_factors({120: 0.1, 130: 0.01}))
"""What those on images of 32×32 share."""

crops_of_24 = partial(cifar, crop=24, steps=make_factors({500: 0.1, 510: 0.01}))
"""What those on crops of 24×24 share."""


def make_decays(**layers: float) -> tuple[LayerDecay, ...]:
    """Return the weight decay of each layer that is named."""
    return tuple(LayerDecay(layer, decay) for layer, decay in layers.items())


ON_CIFAR: dict[str, Recipe] = {
    # The notes do not say how long the first two were trained; as long as the third is assumed.
    "cifar-19pct": whole_images(
        network="cifar-19pct",
        decays=make_decays(conv1=0.004, conv2=0.004, conv3=0.004, fc4=3),
        epochs=140,
    ),
    "cifar-80sec": whole_images(
        network="cifar-80sec",
        decays=make_decays(conv1=0.004, conv2=0.004, conv3=0.004, fc4=0.03, fc5=0.03),
        epochs=140,
    ),
    "cifar-18pct": whole_images(
        network="cifar-18pct",
        decays=make_decays(conv1=0.004, conv2=0.004, conv3=0.004, fc4=1),
        epochs=140,
    ),
    # The notes do not say how long; as long as cifar-11pct, which it is compared with, is assumed.
    "cifar-13pct": crops_of_24(
        network="cifar-13pct",
        decays=make_decays(conv1=0, conv2=0, local3=0.004, local4=0.004, fc5=0.004),
        epochs=520,
    ),
    "cifar-11pct": crops_of_24(
        network="cifar-11pct",
        decays=make_decays(conv1=0, conv2=0, local3=0.004, local4=0.004, fc5=0.01),
        epochs=520,
    ),
}
"""The networks of section 3.3 with 13 % and 11 % error, and their smaller relatives."""

TRAININGS = FROM_RANDOM | FROM_TRAINED | ON_CIFAR
"""All of them by name; most have the name of their network."""
