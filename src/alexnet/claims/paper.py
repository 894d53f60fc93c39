"""Every measurable statement of Krizhevsky, Sutskever & Hinton (2012), as data.

Errors are those of the last checkpoint, in percent; differences are in points of error. "145" and
the like are the networks of the 2012 code (`nets.original`).
"""

from __future__ import annotations

from alexnet.claims import notes
from alexnet.claims.claim import Claim, Data, Quantity, Run
from alexnet.claims.readings import (
    WHOLE,
    color,
    epochs_ratio,
    error,
    gain,
    gain_of_views,
    nearer,
    nearer_by_chance,
    overfitting,
    race_ratio,
    same_class,
    separation,
    separation_by_chance,
    size_of,
    views_by_chance,
)

ILSVRC2010 = Data("ILSVRC-2010", "ilsvrc2010", 1_261_406, "ilsvrc2010.pack")
ILSVRC2012 = Data("ILSVRC-2012", "ilsvrc2012", 1_281_167, "ilsvrc2012.pack")
FALL2011 = Data("ImageNet Fall 2011", "folder", 14_000_000, "fall2011.pack")
FALL2009 = Data("ImageNet Fall 2009", "folder", 4_450_000, "fall2009.pack")
CIFAR10 = Data("CIFAR-10", "cifar10", 50_000, "cifar10.pack")

FIVE = "original-120", "original-131", "original-135", "original-137", "original-145"
MIDDLE = "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"
PLAIN = {
    "random_crop": False,
    "flip": False,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "epochs": 60,
}
"""Figure 1's trainings have no regularization and one learning rate each."""
CONVOLUTIONS = "conv1", "conv2", "conv3", "conv4", "conv5"
UP_TO_FC7 = *CONVOLUTIONS, "conv6", "fc6", "fc7"
TEN_THOUSAND = Run("original-146-2009", start="original-145", take=CONVOLUTIONS, earlier=FALL2009)


def levels(
    role: str, what: str, top1: float, top5: float, scores: str = "10"
) -> tuple[Quantity, Quantity]:
    """The two errors of one network, each with half a point of tolerance."""
    return (
        Quantity(f"top-1, {what}", error(role, 1, scores), top1, 0.5),
        Quantity(f"top-5, {what}", error(role, 5, scores), top5, 0.5),
    )


def gains(
    worse: str, better: str, top1: float, top5: float, noted: tuple[str, str]
) -> tuple[Quantity, Quantity]:
    """How much lower both errors of one network are than another's; 0 if the claim is empty."""
    return tuple(  # type: ignore[return-value]
        Quantity(
            f"top-{top}",
            gain(worse, better, top),
            paper,
            tolerance=0.6,
            nothing=0.0,
            form="{:+.1f}",
            notes=notes.gained(*noted, top),
        )
        for top, paper in ((1, top1), (5, top5))
    )


def views_gain(top: int, paper: float) -> Quantity:
    """How much lower ten views bring an error; the images counted tell the margin of one seed."""
    read, alone = gain_of_views(WHOLE, top), views_by_chance(WHOLE, top)
    return Quantity(f"top-{top}", read, paper, 0.6, nothing=0.0, form="{:+.1f}", alone=alone)


def errors_of(*roles: str, scores: str = "10") -> tuple[Quantity, ...]:
    """The top-1 errors of networks that are compared, for the reader."""
    return tuple(Quantity(f"top-1 error, {x}, %", error(x, 1, scores), None) for x in roles)


def varied(**changes: object) -> Run:
    """The recommended training with some fields of its recipe changed."""
    return Run(changes=changes)


_CLAIMS = (
    Claim(
        1,
        "ilsvrc-2010",
        "6, table 1",
        "On ILSVRC-2010 one network errs on 37.5 % and 17.0 % with ten views, 39.0 % and 18.3 % "
        "with the center alone",
        (
            *levels(WHOLE, "ten views", 37.5, 17.0),
            *levels(WHOLE, "center", 39.0, 18.3, "1"),
        ),
        ILSVRC2010,
        {WHOLE: Run("original-145-2010")},
        scores=("1", "10"),
        split="test",
    ),
    Claim(
        2,
        "ilsvrc-2012",
        "6, table 2",
        "On ILSVRC-2012 one network errs on 40.7 % and 18.2 %, five averaged on 38.1 % and 16.4 %",
        (
            *levels("original-145", "one network", 40.7, 18.2),
            *levels("five", "five", 38.1, 16.4),
        ),
        ILSVRC2012,
        {name: Run(name) for name in FIVE},
        {"five": FIVE},
        remark="Which five networks were averaged is inferred from the dates in the lab notes.",
    ),
    Claim(
        3,
        "pretrained",
        "6, table 2",
        "With a sixth convolution and training on all of ImageNet Fall 2011 first, one network "
        "errs on 39.0 % and 16.6 %, two such averaged with the five on 36.7 % and 15.4 %",
        (
            *levels("fine-tuned", "one network", 39.0, 16.6),
            *levels("seven", "seven", 36.7, 15.4),
        ),
        ILSVRC2012,
        {
            **{name: Run(name) for name in FIVE},
            "fall 2009": TEN_THOUSAND,
            "fall 2011": Run(
                "original-146-2011",
                start="fall 2009",
                take=(*CONVOLUTIONS, "conv6"),
                earlier=FALL2011,
            ),
            "fine-tuned": Run("original-146-2012-2011", start="fall 2011", take=UP_TO_FC7),
            "from 2009": Run("original-146-2012-2009", start="fall 2009", take=UP_TO_FC7),
        },
        {"seven": ("fine-tuned", "from 2009", *FIVE)},
        remark="The lab notes document only one network that was trained on Fall 2011 first; the "
        "second is taken to be the one of theirs that was trained on Fall 2009 first.",
    ),
    Claim(
        4,
        "fall-2009",
        "6",
        "On half of ImageNet Fall 2009 (10,184 classes) the network with a sixth convolution errs "
        "on 67.4 % and 40.9 %",
        levels(WHOLE, "ten views", 67.4, 40.9),
        FALL2009,
        {
            "original-145": Run("original-145", earlier=ILSVRC2012),
            WHOLE: Run("original-146-2009", start="original-145", take=CONVOLUTIONS),
        },
        remark="Pack with --val-fraction 0.5: half of the images train, half measure.",
    ),
    Claim(
        5,
        "relu-tanh",
        "3.1, figure 1",
        "A four-layer network of ReLUs reaches 25 % training error on CIFAR-10 six times faster "
        "than one of tanh units",
        (
            Quantity(
                "epochs with tanh / epochs with ReLU",
                race_ratio("tanh", "relu"),
                paper=6.0,
                tolerance=2.0,
                nothing=1.0,
                form="{:.1f}×",
            ),
        ),
        CIFAR10,
        {unit: Run("cifar", {**PLAIN, "network": f"figure1-{unit}"}) for unit in ("relu", "tanh")},
        method="race",
        remark="No regularization; the learning rate of each unit is the one that gets there "
        "first. The paper says no more of the network than that it has four layers.",
    ),
    Claim(
        6,
        "two-towers",
        "3.2",
        "Two towers err less than one with half the kernels, by 1.7 and 1.2 points",
        gains("one tower", "two towers", 1.7, 1.2, ("145-half", "145-2010")),
        ILSVRC2010,
        {"two towers": Run(), "one tower": varied(variations=("towers=1",))},
        asides=errors_of("two towers", "one tower"),
        split="test",
    ),
    Claim(
        7,
        "response-norm",
        "3.3",
        "Response normalization lowers the errors by 1.4 and 1.2 points",
        gains("no norm", "norm", 1.4, 1.2, ("148", "145")),
        ILSVRC2012,
        {"norm": Run(), "no norm": varied(variations=("norm=no",))},
        asides=errors_of("norm", "no norm"),
        remark="The published figure is for all three norms of the 2012 code, one of which the "
        "paper does not mention (148 against 145).",
    ),
    Claim(
        7,
        "response-norm-cifar",
        "3.3",
        "Response normalization lowers the error of a four-layer network on CIFAR-10 from 13 % "
        "to 11 %",
        (
            Quantity(
                "top-1",
                gain("no norm", "norm"),
                paper=2.0,
                tolerance=1.0,
                nothing=0.0,
                form="{:+.1f}",
            ),
        ),
        CIFAR10,
        {
            "norm": Run("cifar-11pct"),
            "no norm": Run("cifar-13pct"),
        },
        asides=errors_of("norm", "no norm"),
        remark="The network with norms also has a local layer twice as wide, so the difference is "
        "not that of the norms alone.",
    ),
    Claim(
        8,
        "overlapping-pooling",
        "3.4",
        "Pooling windows that overlap lower the errors by 0.4 and 0.3 points",
        gains("apart", "overlapping", 0.4, 0.3, ("147", "145")),
        ILSVRC2012,
        {"overlapping": Run(), "apart": varied(variations=("overlap=no",))},
        asides=errors_of("overlapping", "apart"),
    ),
    Claim(
        9,
        "ten-views",
        "4.1, 6",
        "Averaging ten views lowers the errors of the same network by 1.5 and 1.3 points",
        (
            views_gain(1, 1.5),
            views_gain(5, 1.3),
        ),
        ILSVRC2010,
        {WHOLE: Run()},
        method="views",
        asides=(
            Quantity("top-1 error, ten views, %", error(WHOLE), None),
            Quantity("top-1 error, one view, %", error(WHOLE, scores="1"), None),
        ),
        split="test",
    ),
    Claim(
        10,
        "color-noise",
        "4.1",
        "Shifting colors along their principal components lowers the top-1 error by over 1 point",
        (
            Quantity(
                "top-1",
                gain("no color noise", "color noise"),
                paper=1.0,
                tolerance=0.0,
                nothing=0.0,
                at_least=True,
                form="{:+.1f}",
            ),
        ),
        ILSVRC2012,
        {"color noise": varied(color_noise=0.1), "no color noise": varied(color_noise=0.0)},
        asides=errors_of("color noise", "no color noise"),
    ),
    Claim(
        11,
        "dropout",
        "4.2",
        "Without dropout the network overfits; with it, it needs about twice as many iterations",
        (
            Quantity(
                "gap between training and validation error, without − with",
                overfitting("no dropout", "dropout"),
                paper=None,
                nothing=0.0,
                form="{:+.1f}",
            ),
            Quantity(
                "epochs to converge, with / without",
                epochs_ratio("dropout", "no dropout"),
                paper=2.0,
                tolerance=0.7,
                nothing=1.0,
                form="{:.1f}×",
            ),
        ),
        ILSVRC2012,
        {"dropout": varied(dropout=0.5), "no dropout": varied(dropout=0.0)},
        scores=("1", "train"),
        asides=errors_of("dropout", "no dropout", scores="1"),
        remark="Converged: first within one point of the lowest validation error of the run.",
    ),
    Claim(
        12,
        "depth",
        "7",
        "Leaving out any middle layer costs about 2 points of top-1 error",
        tuple(
            Quantity(
                f"without {layer}",
                gain(f"without {layer}", WHOLE),
                paper=2.0,
                tolerance=1.0,
                nothing=0.0,
                form="{:+.1f}",
            )
            for layer in MIDDLE
        ),
        ILSVRC2012,
        {WHOLE: Run()}
        | {f"without {layer}": varied(variations=(f"without={layer}",)) for layer in MIDDLE},
        asides=errors_of(WHOLE),
    ),
    Claim(
        13,
        "towers-specialize",
        "6.1, figure 3",
        "The first-layer kernels of one tower become color-agnostic, those of the other "
        "color-specific",
        (
            Quantity(
                "chance that a kernel of the more colorful tower is more colorful than one of "
                "the other",
                separation,
                paper=None,
                nothing=0.5,
                alone=separation_by_chance,
                form="{:.2f}",
            ),
        ),
        ILSVRC2012,
        {WHOLE: Run()},
        method="towers",
        asides=tuple(
            Quantity(f"mean color of tower {tower + 1}", color(tower), None, form="{:.2f}")
            for tower in (0, 1)
        ),
        remark="0.5: the towers do not differ; 1: every kernel of one is more colorful than every "
        "kernel of the other. A kernel's color is the share of its energy that is not gray: two "
        "thirds in kernels drawn at random, which is what they are before much training.",
    ),
    Claim(
        14,
        "size",
        "1, 3.5",
        "60 million parameters and 650,000 neurons",
        (
            Quantity("million parameters", size_of("parameters", 1e6), 60.0, 1.0),
            Quantity("thousand neurons", size_of("neurons", 1e3), 650.0, 10.0, form="{:.0f}"),
        ),
        method="size",
        remark="Neurons: what the eight layers put out. 60,965,224 parameters, 659,272 neurons.",
    ),
    Claim(
        15,
        "features",
        "6.1, figure 4",
        "Images whose 4096 features of fc7 are close show the same things, although their pixels "
        "are far apart",
        (
            Quantity(
                "points more neighbors of the same class by fc7 than by pixels",
                nearer,
                paper=None,
                nothing=0.0,
                alone=nearer_by_chance,
                form="{:+.1f}",
            ),
        ),
        ILSVRC2012,
        {WHOLE: Run()},
        method="features",
        asides=(
            Quantity("neighbors of the same class by fc7, %", same_class(0), None),
            Quantity("neighbors of the same class by pixels, %", same_class(1), None),
        ),
        remark="Of each validation image's five nearest others (L2), the share of its class.",
    ),
)

CLAIMS: dict[str, Claim] = {claim.name: claim for claim in _CLAIMS}
"""Every claim by its name, in the order of their numbers."""


def find(name: str) -> Claim:
    """The claim called `name`. Raises ValueError, with the names there are, for another."""
    if name not in CLAIMS:
        raise ValueError(f"no claim is called {name!r}; there are {', '.join(CLAIMS)}")
    return CLAIMS[name]
