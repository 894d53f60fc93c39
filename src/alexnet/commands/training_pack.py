"""The pack that `alexnet train` reads: the one that is named, or one made of the images first.

A pack is made in packs/ (`packing.automatic`), at a size that suits the network: that of --init or
of the resumed run, else that of the recipe or of --network, else 256 as in the paper. What would
stop the training later, such as a crop larger than the images, is an error before any time is
spent on packing. Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.commands.recipe_options import RecipeChoice
from alexnet.commands.resumption import find_folder
from alexnet.recipes.named import packed_side

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack
    from alexnet.recipes.recipe import Recipe
    from alexnet.sources import Source
    from alexnet.training.transfer import Transfer


@dataclass(frozen=True)
class Outline:
    """What is known of the images of a training without decoding them."""

    images: str
    kind: str
    counts: dict[str, int]
    """Number of images of each split."""
    n_classes: int
    size: int
    """Width and height of the packed images."""
    description: str
    """How they are, or would be, packed."""
    pack_bytes: int
    """Bytes of a pack that is still to be made."""


@dataclass(frozen=True)
class TrainingPack:
    """The images that a training is asked for, and what decides the size they are packed at."""

    images: str
    """A pack, or what `alexnet pack` reads."""
    choice: RecipeChoice
    resumed: Path | None
    """The run or checkpoint file that is resumed."""
    init: Transfer | None = None
    """The earlier training that the new one begins with, and its layers."""

    def open_or_make(self, run: Path) -> Pack:
        """Open the pack, or make it and print what is packed.

        Raises ValueError or OSError if there are no images, or none that could be trained on.
        """
        from alexnet.commands.pack import pack_next_to_run_with_bar, warn
        from alexnet.packing.automatic import find_holdout, find_packs
        from alexnet.packs.balance import describe_balance
        from alexnet.packs.pack import open_pack
        from alexnet.sources import open_source

        if (Path(self.images) / "pack.json").is_file():
            pack = open_pack(Path(self.images))
            for line in describe_balance(pack) if self.resumed is None else ():
                print(line, file=sys.stderr)
            return pack
        if resumed := self._find_pack_of_resumed():
            self._say_if_changed(resumed)
            return resumed
        source = open_source(self.images, **find_holdout(self.images, run, warn))
        options, reason = self._choose_options(source)
        description = f"{options['size']}×{options['size']} {reason}"
        recipe = self._check_before_packing(source, options["size"], description)
        if recipe is not None:
            self._check_training(source, options, run, recipe)
        if not find_packs(source.path, run):
            print(f"{self.images} is not a pack: packing it first, {description}", file=sys.stderr)
        return pack_next_to_run_with_bar(self.images, source, run, **options)

    def warn_of_change(self, pack: Pack) -> None:
        """Print that the pack has changed since the run of --init was trained on it, if it has."""
        from alexnet.evaluation.measured_pack import describe_change

        if self.init is None or (run := find_folder(Path(self.init.init))) is None:
            return
        use = "the new training uses its images as they are now"
        if text := describe_change(run, pack.path, pack.checksum, use):
            print(
                f"Warning: {text} The first errors may look better than they are.", file=sys.stderr
            )

    def outline(self, run: Path) -> Outline:
        """Return what is known of the images without decoding any; refuse what can be refused.

        An archive is read once, to count its images.
        """
        from alexnet.commands.refusals import count_images, count_records
        from alexnet.packing.automatic import find_holdout
        from alexnet.packs.pack import open_pack
        from alexnet.sources import open_source

        is_pack = (Path(self.images) / "pack.json").is_file()
        if pack := open_pack(Path(self.images)) if is_pack else self._find_pack_of_resumed():
            counts = {name: len(split) for name, split in pack.splits.items()}
            if self.resumed is None:
                self._check_pack(pack)
            description = f"packed at {pack.size}×{pack.size} in {pack.path}"
            kind = str(pack.source["kind"])
            return Outline(self.images, kind, counts, len(pack.classes), pack.size, description, 0)
        source = open_source(self.images, **find_holdout(self.images, run))
        options, reason = self._choose_options(source)
        size, pixels = options["size"], options.get("pixels", "rgb")
        description = f"{size}×{size} {reason}"
        recipe = self._check_before_packing(source, size, description)
        if recipe is not None:
            self._check_training(source, options, run, recipe)
        counts = count_images(source)
        n_bytes = count_records(sum(counts.values()), size, pixels)
        return Outline(
            images=self.images,
            kind=source.kind,
            counts=counts,
            n_classes=len(source.classes),
            size=size,
            description=f"to be packed first, {description}",
            pack_bytes=n_bytes,
        )

    def _find_pack_of_resumed(self) -> Pack | None:
        """Return the pack that the resumed run was trained on, if it was made of these images."""
        from alexnet.evaluation.measured_pack import open_training_pack

        folder = find_folder(self.resumed)
        return open_training_pack(folder, self.images, may_be_relative=True) if folder else None

    def _say_if_changed(self, pack: Pack) -> None:
        """Print that the images have changed since the training began, if they have."""
        from alexnet.packing.automatic import has_changed, open_source_of

        try:
            changed = has_changed(pack, open_source_of(pack, self.images))
        except (OSError, ValueError):
            changed = True  # they cannot be read as before, and need not be
        if changed:
            print(
                f"{self.images} has changed since this training began. It goes on with the images "
                f"as they were, in {pack.path}; a new training would use them as they are now.",
                file=sys.stderr,
            )

    def _choose_options(self, source: Source) -> tuple[dict[str, Any], str]:
        """Return the options of `alexnet pack` that suit the network, and the reason in words.

        The size is a key of the options; an earlier network also decides how images are fitted and
        how pixels are stored.
        """
        from alexnet import checkpoint
        from alexnet.evaluation.measured_pack import derive_pack_options
        from alexnet.packing.pack import DEFAULT_SIZE
        from alexnet.runs import find_checkpoint_to_resume

        # An earlier network wants images as it was trained on, and else the recipe decides.
        if start := self.choice.init or (self.resumed and find_checkpoint_to_resume(self.resumed)):
            options = derive_pack_options(checkpoint.load(checkpoint.find(start)))
            return options, f"(fit: {options['fit']}), as the network of {start} was trained"
        native, crop = source.native_size, self.choice.find_crop()
        if native and (crop is None or crop <= native):
            return {"size": native}, "as they are"
        if crop is None:
            return {"size": DEFAULT_SIZE}, "as in the paper"
        return {"size": packed_side(crop)}, f"for crops of {crop}×{crop}"

    def _check_before_packing(self, source: Source, size: int, description: str) -> Recipe | None:
        """Raise ValueError for a training that cannot be, before time is spent on its images.

        Returns the recipe that is expected, or None if a training is resumed.
        """
        import torch

        from alexnet.nets.variations import network_of
        from alexnet.packing.arguments import MAX_SIZE
        from alexnet.sources.names import quote_names

        if len(source.classes) < 2:
            raise ValueError(
                f"{self.images} has images of only one class, {quote_names(source.classes)}: a "
                "classifier needs at least two. Add a folder of images of another class"
            )
        if self.resumed is not None:
            return None
        # The number of images is not known yet. Of `paper` and `small`, which it chooses between,
        # both have crops of 224 and the same network.
        name, _ = self.choice.choose_name(source.kind, size, 0, True)
        recipe = self.choice.make_recipe(name, size)
        if size > MAX_SIZE:
            raise ValueError(
                f"crop is {recipe.crop}: images would be packed {description}, but packed images "
                f"have at most {MAX_SIZE}×{MAX_SIZE} pixels: give a smaller --crop"
            )
        if recipe.crop > size:
            raise ValueError(
                f"the recipe `{name}` cuts {recipe.crop}×{recipe.crop} pixels out of images, which "
                f"would be packed {description}. Say --crop {size * 7 // 8}, or pack them at "
                f"another size first: alexnet pack IMAGES PACK --size {packed_side(recipe.crop)}"
            )
        with torch.device("meta"):  # builds the network without its weights
            network_of(recipe, len(source.classes))
        return recipe

    def _check_pack(self, pack: Pack) -> None:
        """Refuse what a pack makes impossible, as `training.train` does."""
        from alexnet.training.refusals import check_layers, check_network, check_pack

        n_images, has_validation = len(pack.splits.get("train", ())), bool(pack.splits.get("val"))
        kind = str(pack.source["kind"])
        name, _ = self.choice.choose_name(kind, pack.size, n_images, has_validation)
        recipe = self.choice.make_recipe(name, pack.size)
        check_pack(pack, recipe)
        check_network(pack, recipe)
        check_layers(recipe, pack.classes, self.init)

    def _check_training(
        self, source: Source, options: dict[str, Any], run: Path, recipe: Recipe
    ) -> None:
        """Refuse what the classes, splits and number of the images make impossible."""
        from alexnet.commands.refusals import TrainingPlan, check_training
        from alexnet.packing.automatic import choose_path, find_packs, pack_name

        found = find_packs(source.path, run, source.evaluation_split)
        pack = found[0] if found else choose_path(source, run, pack_name(self.images), options)
        plan = TrainingPlan(run, self.choice, self.resumed, self.init)
        check_training(source, options["size"], options.get("pixels", "rgb"), pack, plan, recipe)
