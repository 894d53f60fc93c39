"""Every measurable claim of Krizhevsky, Sutskever & Hinton (2012), as data.

    statement + published numbers     → `Quantity`: statistic, paper's number, tolerance, null value
    the trainings that are compared   → `TrainingSpec` by role

Errors are those of the last checkpoint, in percent; differences are in points of error. Names like
`original-145` are networks and recipes of the 2012 code (`nets.original`, `recipes.lab_notes`).
Tolerances are ours: half a point for an error rate, and for a difference about as much as two such
trainings vary. A new claim goes at the end of `_CLAIMS`; the tests check that its recipes, networks
and roles exist.
"""

from __future__ import annotations

from alexnet.claims.claim import Claim, Dataset, Quantity, TrainingSpec
from alexnet.claims.quantities import (
    WHOLE,
    compare_errors,
    compare_views,
    epochs_to_converge_ratio,
    epochs_to_target_ratio,
    error_difference,
    error_rate,
    generalization_gap_difference,
    list_compared_errors,
    list_error_rates,
    neighbor_gain,
    neighbor_gain_margin,
    neighbor_share,
    network_size,
    tower_color,
    tower_separation,
    tower_separation_margin,
)

ILSVRC2010 = Dataset("ILSVRC-2010", "ilsvrc2010", 1_261_406, "ilsvrc2010.pack")
ILSVRC2012 = Dataset("ILSVRC-2012", "ilsvrc2012", 1_281_167, "ilsvrc2012.pack")
FALL2011 = Dataset("ImageNet Fall 2011", "folder", 14_000_000, "fall2011.pack")
FALL2009 = Dataset("ImageNet Fall 2009", "folder", 4_450_000, "fall2009.pack")
CIFAR10 = Dataset("CIFAR-10", "cifar10", 50_000, "cifar10.pack")

FIVE_NETWORKS = "original-120", "original-131", "original-135", "original-137", "original-145"
"""The networks that the paper averages, inferred from the dates in the lab notes."""

MIDDLE_LAYERS = "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"
"""The layers that claim 12 removes, one at a time."""

UNREGULARIZED = {
    "random_crop": False,
    "flip": False,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "epochs": 60,
}
"""Figure 1's networks are trained without regularization and at a constant learning rate."""

CONVOLUTIONS = "conv1", "conv2", "conv3", "conv4", "conv5"
UP_TO_FC7 = *CONVOLUTIONS, "conv6", "fc6", "fc7"
"""The layers that the pre-trained network with a sixth convolution shares with the fine-tuned."""

PRETRAIN_FALL2009 = TrainingSpec(
    "original-146-2009", start="original-145", copied_layers=CONVOLUTIONS, pretraining=FALL2009
)


def change_recipe(**changes: object) -> TrainingSpec:
    """Return the training that is recommended for the pack, with some recipe fields changed."""
    return TrainingSpec(changes=changes)


_CLAIMS = (
    # Section 6: published error rates. An absolute error rate has no null value, so only the
    # paper's own dataset can confirm it.
    Claim(
        1,
        "ilsvrc-2010",
        "6, table 1",
        "On ILSVRC-2010, one network has top-1 and top-5 error rates of 37.5 % and 17.0 % with ten "
        "views, and of 39.0 % and 18.3 % with the center crop only",
        (
            *list_error_rates(WHOLE, "ten views", 37.5, 17.0),
            *list_error_rates(WHOLE, "center", 39.0, 18.3, "1"),
        ),
        ILSVRC2010,
        {WHOLE: TrainingSpec("original-145-2010")},
        evaluations=("1", "10"),
        split="test",
    ),
    Claim(
        2,
        "ilsvrc-2012",
        "6, table 2",
        "On ILSVRC-2012, one network has top-1 and top-5 error rates of 40.7 % and 18.2 %, and the "
        "average of five has 38.1 % and 16.4 %",
        (
            *list_error_rates("original-145", "one network", 40.7, 18.2),
            *list_error_rates("five", "five", 38.1, 16.4),
        ),
        ILSVRC2012,
        {name: TrainingSpec(name) for name in FIVE_NETWORKS},
        {"five": FIVE_NETWORKS},
        remark="Which five networks were averaged is inferred from the dates in the lab notes.",
    ),
    # The chain of trainings of the lab notes: original-145 → fall 2009 → fall 2011 → fine-tuned,
    # each initialized with layers of the one before; original-145 is one of the five networks.
    Claim(
        3,
        "pretrained",
        "6, table 2",
        "With a sixth convolutional layer and pre-training on all of ImageNet Fall 2011, one "
        "network has top-1 and top-5 error rates of 39.0 % and 16.6 %; the average of two such "
        "networks and the five above has 36.7 % and 15.4 %",
        (
            *list_error_rates("fine-tuned", "one network", 39.0, 16.6),
            *list_error_rates("seven", "seven", 36.7, 15.4),
        ),
        ILSVRC2012,
        {
            **{name: TrainingSpec(name) for name in FIVE_NETWORKS},
            "fall 2009": PRETRAIN_FALL2009,
            "fall 2011": TrainingSpec(
                "original-146-2011",
                start="fall 2009",
                copied_layers=(*CONVOLUTIONS, "conv6"),
                pretraining=FALL2011,
            ),
            "fine-tuned": TrainingSpec(
                "original-146-2012-2011", start="fall 2011", copied_layers=UP_TO_FC7
            ),
            "from 2009": TrainingSpec(
                "original-146-2012-2009", start="fall 2009", copied_layers=UP_TO_FC7
            ),
        },
        {"seven": ("fine-tuned", "from 2009", *FIVE_NETWORKS)},
        remark="The lab notes document only one network that was pre-trained on Fall 2011; the "
        "second is taken to be the one that was pre-trained on Fall 2009.",
    ),
    # The pack to measure on is Fall 2009; original-145 is trained on ILSVRC-2012 before it.
    Claim(
        4,
        "fall-2009",
        "6",
        "On half of ImageNet Fall 2009 (10,184 classes), the network with a sixth convolutional "
        "layer has top-1 and top-5 error rates of 67.4 % and 40.9 %",
        list_error_rates(WHOLE, "ten views", 67.4, 40.9),
        FALL2009,
        {
            "original-145": TrainingSpec("original-145", pretraining=ILSVRC2012),
            WHOLE: TrainingSpec(
                "original-146-2009", start="original-145", copied_layers=CONVOLUTIONS
            ),
        },
        remark="Pack with --val-fraction 0.5: half of the images are for training, half for "
        "validation.",
    ),
    # Section 3: properties of the architecture. A ratio of epochs has the null value 1.
    Claim(
        5,
        "relu-tanh",
        "3.1, figure 1",
        "A four-layer network with ReLUs reaches 25 % training error on CIFAR-10 six times faster "
        "than one with tanh units",
        (
            Quantity(
                "epochs with tanh / epochs with ReLU",
                epochs_to_target_ratio("tanh", "relu"),
                paper=6.0,
                tolerance=2.0,
                null_value=1.0,
                format="{:.1f}×",
            ),
        ),
        CIFAR10,
        {
            unit: TrainingSpec("cifar", {**UNREGULARIZED, "network": f"figure1-{unit}"})
            for unit in ("relu", "tanh")
        },
        method="convergence",
        remark="Trained without regularization, each network with the learning rate that reaches "
        "the target first. The paper says only that the network has four layers.",
    ),
    # Differences of error rates have the null value 0: both networks would be equally good.
    Claim(
        6,
        "two-towers",
        "3.2",
        "Two towers have lower top-1 and top-5 errors than one tower with half as many kernels, by "
        "1.7 and 1.2 points",
        compare_errors("one tower", "two towers", 1.7, 1.2, ("145-half", "145-2010")),
        ILSVRC2010,
        {"two towers": TrainingSpec(), "one tower": change_recipe(variations=("towers=1",))},
        unjudged=list_compared_errors("two towers", "one tower"),
        split="test",
    ),
    # Networks 148 and 145 of the lab notes: without and with response normalization.
    Claim(
        7,
        "response-norm",
        "3.3",
        "Response normalization lowers top-1 and top-5 error by 1.4 and 1.2 points",
        compare_errors("no norm", "norm", 1.4, 1.2, ("148", "145")),
        ILSVRC2012,
        {"norm": TrainingSpec(), "no norm": change_recipe(variations=("norm=no",))},
        unjudged=list_compared_errors("norm", "no norm"),
        remark="The published difference is between the lab notes' networks 145, with three "
        "normalization layers, one of which the paper does not mention, and 148, with none.",
    ),
    # Both networks are layer definitions of cuda-convnet, which names them after their errors.
    Claim(
        7,
        "response-norm-cifar",
        "3.3",
        "Response normalization lowers the error of a four-layer network on CIFAR-10 from 13 % "
        "to 11 %",
        (
            Quantity(
                "top-1",
                error_difference("no norm", "norm"),
                paper=2.0,
                tolerance=1.0,
                null_value=0.0,
                format="{:+.1f}",
            ),
        ),
        CIFAR10,
        {
            "norm": TrainingSpec("cifar-11pct"),
            "no norm": TrainingSpec("cifar-13pct"),
        },
        unjudged=list_compared_errors("norm", "no norm"),
        remark="The network with normalization also has a locally connected layer twice as wide, "
        "so normalization does not account for the whole difference.",
    ),
    # Networks 147 and 145 of the lab notes: 2×2 pooling windows with stride 2, and 3×3 ones.
    Claim(
        8,
        "overlapping-pooling",
        "3.4",
        "Overlapping pooling windows lower top-1 and top-5 error by 0.4 and 0.3 points",
        compare_errors("apart", "overlapping", 0.4, 0.3, ("147", "145")),
        ILSVRC2012,
        {"overlapping": TrainingSpec(), "apart": change_recipe(variations=("overlap=no",))},
        unjudged=list_compared_errors("overlapping", "apart"),
    ),
    # Section 4: data augmentation and dropout. Both errors are of one network on the same images,
    # so one seed has a sampling error of its own (McNemar).
    Claim(
        9,
        "ten-views",
        "4.1, 6",
        "Averaging ten views lowers top-1 and top-5 error of the same network by 1.5 and 1.3 "
        "points",
        (
            compare_views(1, 1.5),
            compare_views(5, 1.3),
        ),
        ILSVRC2010,
        {WHOLE: TrainingSpec()},
        method="views",
        unjudged=(
            Quantity("top-1 error, ten views, %", error_rate(WHOLE), None),
            Quantity("top-1 error, one view, %", error_rate(WHOLE, evaluation="1"), None),
        ),
        split="test",
    ),
    # The paper says "over 1 %": no gain is too large, and the tolerance below 1 point is 0.
    Claim(
        10,
        "color-noise",
        "4.1",
        "Shifting colors along their principal components lowers top-1 error by more than 1 point",
        (
            Quantity(
                "top-1",
                error_difference("no color noise", "color noise"),
                paper=1.0,
                tolerance=0.0,
                null_value=0.0,
                at_least=True,
                format="{:+.1f}",
            ),
        ),
        ILSVRC2012,
        {
            "color noise": change_recipe(color_noise=0.1),
            "no color noise": change_recipe(color_noise=0.0),
        },
        unjudged=list_compared_errors("color noise", "no color noise"),
    ),
    # The paper gives no number for overfitting: beyond noise, only the direction is judged.
    Claim(
        11,
        "dropout",
        "4.2",
        "Without dropout the network overfits; dropout about doubles the number of iterations that "
        "training takes to converge",
        (
            Quantity(
                "gap between training and validation error, without dropout − with",
                generalization_gap_difference("no dropout", "dropout"),
                paper=None,
                null_value=0.0,
                format="{:+.1f}",
            ),
            Quantity(
                "epochs to converge, with dropout / without",
                epochs_to_converge_ratio("dropout", "no dropout"),
                paper=2.0,
                tolerance=0.7,
                null_value=1.0,
                format="{:.1f}×",
            ),
        ),
        ILSVRC2012,
        {"dropout": change_recipe(dropout=0.5), "no dropout": change_recipe(dropout=0.0)},
        evaluations=("1", "train"),
        unjudged=list_compared_errors("dropout", "no dropout", evaluation="1"),
        remark="A training has converged when its validation error is first within one point of "
        "the lowest validation error of that training.",
    ),
    # Section 7: one quantity per removed layer. The verdict is the least favorable of the six.
    Claim(
        12,
        "depth",
        "7",
        "Removing any middle layer raises top-1 error by about 2 points",
        tuple(
            Quantity(
                f"without {layer}",
                error_difference(f"without {layer}", WHOLE),
                paper=2.0,
                tolerance=1.0,
                null_value=0.0,
                format="{:+.1f}",
            )
            for layer in MIDDLE_LAYERS
        ),
        ILSVRC2012,
        {WHOLE: TrainingSpec()}
        | {
            f"without {layer}": change_recipe(variations=(f"without={layer}",))
            for layer in MIDDLE_LAYERS
        },
        unjudged=list_compared_errors(WHOLE),
    ),
    # Section 6.1: qualitative observations, for which we chose the statistics. Null value 0.5:
    # the towers would not differ in color.
    Claim(
        13,
        "towers-specialize",
        "6.1, figure 3",
        "The first-layer kernels of one tower become color-agnostic, those of the other "
        "color-specific",
        (
            Quantity(
                "probability that a kernel of the more colorful tower is more colorful than one "
                "of the other",
                tower_separation,
                paper=None,
                null_value=0.5,
                single_seed_margin=tower_separation_margin,
                format="{:.2f}",
            ),
        ),
        ILSVRC2012,
        {WHOLE: TrainingSpec()},
        method="towers",
        unjudged=tuple(
            Quantity(f"mean color of tower {tower + 1}", tower_color(tower), None, format="{:.2f}")
            for tower in (0, 1)
        ),
        remark="The number is the probability that a random kernel of the more colorful tower is "
        "more colorful than a random kernel of the other: 0.5 means no difference, 1 complete "
        "separation. The colorfulness of a kernel is the fraction of its energy outside the gray "
        "axis; it is about two thirds for random kernels, and therefore early in training.",
    ),
    # Needs neither images nor training: the number of parameters follows from the layers.
    Claim(
        14,
        "size",
        "1, 3.5",
        "The network has 60 million parameters and 650,000 neurons",
        (
            Quantity("million parameters", network_size("parameters", 1e6), 60.0, 1.0),
            Quantity(
                "thousand neurons", network_size("neurons", 1e3), 650.0, 10.0, format="{:.0f}"
            ),
        ),
        method="size",
        remark="Neurons are the outputs of the eight layers. Exactly: 60,965,224 parameters and "
        "659,272 neurons.",
    ),
    # Null value 0: neighbors by features would be of the same class as often as by pixels.
    Claim(
        15,
        "features",
        "6.1, figure 4",
        "Images whose 4096 features of fc7 are close show similar objects, although their pixels "
        "are far apart",
        (
            Quantity(
                "neighbors of the same class by fc7 − by pixels, points",
                neighbor_gain,
                paper=None,
                null_value=0.0,
                single_seed_margin=neighbor_gain_margin,
                format="{:+.1f}",
            ),
        ),
        ILSVRC2012,
        {WHOLE: TrainingSpec()},
        method="features",
        unjudged=(
            Quantity("neighbors of the same class by fc7, %", neighbor_share(0), None),
            Quantity("neighbors of the same class by pixels, %", neighbor_share(1), None),
        ),
        remark="Measured as the share of each validation image's five nearest neighbors (L2 "
        "distance) that belong to its class.",
    ),
)

CLAIMS: dict[str, Claim] = {claim.name: claim for claim in _CLAIMS}
"""Every claim by its name, in the order of their numbers."""


def find_claim(name: str) -> Claim:
    """Return the claim called `name`. Raises ValueError, with all names, if there is none."""
    if name not in CLAIMS:
        raise ValueError(f"no claim is called {name!r}; there are {', '.join(CLAIMS)}")
    return CLAIMS[name]
