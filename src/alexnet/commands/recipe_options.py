"""The fields of a recipe as options of a command, and the recipe that the options ask for.

`alexnet train` and `alexnet claims` have all these options; tyro reads their help texts from the
docstrings of the fields of `Recipe`. `alexnet train` decides with a `RecipeChoice` which recipe it
trains by. Nothing heavy is imported before it is needed, so that help answers at once.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from tyro.conf import arg

from alexnet.recipes.lab_notes import FROM_TRAINED
from alexnet.recipes.named import RECIPES, recommend
from alexnet.recipes.recipe import TEXTS, Recipe
from alexnet.terminal import wrap_text
from alexnet.validate import suggest

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack


def make_changes() -> type:
    """Return a dataclass with every field of Recipe, which is None unless its option is given.

    It inherits from Recipe, because tyro takes the help of an option from the class that declares
    its field; the checks of Recipe are left out.
    """
    options = []
    for name, kind in get_type_hints(Recipe).items():
        kind = tuple[str, ...] if name in TEXTS else kind
        paper = getattr(Recipe, name)
        about = arg(help_behavior_hint=f"(paper: {'none' if paper in ((), None) else paper})")
        options.append((name, Annotated[kind | None, about], field(default=None)))
    no_checks = {"__post_init__": lambda self: None}
    return make_dataclass("Changes", options, bases=(Recipe,), namespace=no_checks, frozen=True)


Changes: Any = make_changes()
"""The fields of a recipe that are to be different, as a user gave them."""


def get_given_fields(changes: Any) -> dict[str, Any]:
    """Return the fields of `Changes` that were given, by name."""
    return {name: value for name, value in vars(changes).items() if value is not None}


@dataclass(frozen=True)
class RecipeChoice:
    """The options of `alexnet train` that concern the recipe."""

    name: str | None
    """Name of the recipe; None to choose one for the images."""
    init: Path | None
    """The run whose weights the training begins with."""
    changes: dict[str, Any]
    """Fields to replace in the recipe."""

    def choose_name(self, kind: str, size: int, images: int, validation: bool) -> tuple[str, str]:
        """Return the name of the recipe for such a pack (see `recommend`), and the reason.

        Raises ValueError for a name that no recipe has.
        """
        if self.name is None:
            return recommend(kind, size, images, validation)
        if self.name not in RECIPES:
            raise ValueError(
                f"no recipe is called {self.name!r}.{suggest(self.name, RECIPES)} There are "
                f"{', '.join(RECIPES)}"
            )
        return self.name, "as asked"

    def make_recipe(self, name: str, size: int) -> Recipe:
        """Return the recipe `name` with the changes, for packed images of `size`×`size` pixels.

        If --recipe was not given, it is also fitted to the network: to that of --init, or to the
        size of the images that --network is made for. Raises ValueError as Recipe.
        """
        recipe = RECIPES[name]
        if self.name is None and self.init is not None:
            from alexnet.training.transfer import adopt_network

            recipe = adopt_network(recipe, self.init)
        elif self.name is None and (crop := self.find_network_crop()) and crop <= size < 2 * crop:
            recipe = dataclasses.replace(recipe, crop=crop)
        return dataclasses.replace(recipe, **self.changes)

    def find_crop(self) -> int | None:
        """Return the side of the crops that the options ask for; None if they do not."""
        if self.changes.get("crop"):
            return int(self.changes["crop"])
        if self.name in RECIPES:
            return RECIPES[self.name].crop
        return self.find_network_crop()

    def find_network_crop(self) -> int | None:
        """Return the side of the images that --network is made for; None if it is not given."""
        from alexnet.nets import find

        return find(self.changes["network"]).size if self.changes.get("network") else None

    def choose_for_pack(self, pack: Pack) -> Recipe:
        """Return the recipe to train by on a pack, and print what it is."""
        images, validation = len(pack.splits["train"]), bool(len(pack.splits.get("val", ())))
        name, reason = self.choose_name(pack.source["kind"], pack.size, images, validation)
        recipe = self.make_recipe(name, pack.size)
        self._print_start(pack)
        lines = [f"Recipe `{name}` ({reason}). It departs from the paper in:"]
        for field_name, (value, paper) in recipe.differences(RECIPES["paper"]).items():
            lines.append(f"  {field_name:<16} {value}   (paper: {paper})")
        print(wrap_text("\n".join(lines)), file=sys.stderr)
        return recipe

    def _print_start(self, pack: Pack) -> None:
        """Print what the training begins with, if not with random weights as its recipe expects."""
        if self.init is None:
            if self.name in FROM_TRAINED:
                print(
                    f"`{self.name}` begins with the weights of an earlier training: --init RUN",
                    file=sys.stderr,
                )
            return
        from alexnet.checkpoint import find, load

        if self.name is None:
            print(f"The network is that of {self.init}.", file=sys.stderr)
        side = load(find(self.init)).preprocessing.side
        if side != pack.size:
            print(
                f"It was trained on images of {side}×{side} pixels, and those of {pack.path} are "
                f"{pack.size}×{pack.size}, so its crops show another part of each image. To pack "
                f"them at the same size: alexnet pack IMAGES PACK --size {side}",
                file=sys.stderr,
            )
