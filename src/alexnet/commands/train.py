"""`alexnet train`: images or a pack in, a trained network out."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, make_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from alexnet.recipes.lab_notes import FROM_TRAINED
from alexnet.recipes.recipe import RECIPES, Recipe, packed_side, recommend
from alexnet.validate import read_json

if TYPE_CHECKING:
    from alexnet.packs.pack import Pack
    from alexnet.sources import Source


def recipe_options() -> type:
    """The fields of Recipe as options that are None unless given, with their own docstrings."""
    body = ast.parse(inspect.getsource(Recipe)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for line, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[ast.unparse(line.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    options = []
    for name, hint in inspect.get_annotations(Recipe, eval_str=True).items():
        paper = f"(paper: {getattr(Recipe, name)})"
        about = arg(help=docs[name], help_behavior_hint=paper)
        options.append((name, Annotated[hint | None, about], field(default=None)))
    return make_dataclass("Changes", options, frozen=True)


Changes: Any = recipe_options()


@dataclass(frozen=True)
class Train:
    """Train a network on a pack, or on images, which are packed first."""

    images: Positional[str]
    """A pack, or whatever `alexnet pack` reads."""
    run_folder: Positional[Path | None] = None
    """Where to put the run. By default runs/<name>-<date and time>."""
    recipe: str | None = None
    """A named recipe to start from; by default the one that suits the images, which is said."""
    resume: Annotated[tuple[()] | tuple[Path] | None, arg(metavar="[RUN]")] = None
    """Go on from the last checkpoint of this run, or from this checkpoint file. Alone: with the run
    folder that is given, else with the newest of these images in runs/."""
    init: Path | None = None
    """Begin with the weights of this run. Its last layer is left out if the classes differ; freeze
    or slow down layers with --rates."""
    take: tuple[str, ...] = ()
    """Take only these layers of --init."""
    reset: tuple[str, ...] = ()
    """Take all but these."""
    device: str = "auto"
    """auto, cpu, cuda, or cuda:1 for the second GPU."""
    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    """Of products; weights are float32 always. auto: bf16 on a GPU that has it, else float32."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Whether the images live in the memory of the GPU. auto: where they fit."""
    compiled: Annotated[bool, arg(name="compile")] = False
    """Have torch.compile prepare the training step: a minute or so at the start."""
    save_minutes: float = 10.0
    """Minutes between checkpoints inside an epoch; there is one after every epoch anyway."""
    log_seconds: float = 10.0
    """Seconds between two lines of the log."""
    changes: Annotated[Changes, arg(name="")] = field(default_factory=Changes)
    """Fields of the recipe that are to be different."""

    def run(self) -> int:
        """Pack if need be, choose the recipe, train, and say what to do next."""
        from alexnet.packing.automatic import pack_name
        from alexnet.runs import check_folder
        from alexnet.screen import TrainingScreen
        from alexnet.training.train import train
        from alexnet.training.transfer import Transfer

        self.check()
        name = f"{pack_name(self.images)}-{timestamp()}"
        folder = self.run_folder or self.resume_folder() or Path("runs") / name
        check_folder(folder, Path(self.images).absolute())
        pack = self.opened(folder)
        recipe = self.chosen(pack)
        with TrainingScreen() as screen:
            outcome = train(
                pack,
                folder,
                recipe,
                device=self.device,
                precision=self.precision,
                resident=self.resident,
                compiled=self.compiled,
                resume=self.resumed,
                init=Transfer(self.init, self.take, self.reset) if self.init else None,
                save_minutes=self.save_minutes,
                log_seconds=self.log_seconds,
                screen=screen,
            )
        if outcome.signal is not None:
            state = "saved" if outcome.saved else "NOT saved"
            print(f"Stopped and {state}. Go on: {self.again(folder)}", file=sys.stderr)
            return 128 + outcome.signal
        if not outcome.saved:
            print(
                f"The end of this training is NOT saved. Make room, then: {self.again(folder)}",
                file=sys.stderr,
            )
            return 1
        with suppress(BrokenPipeError):  # nobody listens any more; the training is done
            print(next_commands(folder, 10 if recipe.flip else 5), flush=True)
        return 0

    def check(self) -> None:
        """Raise ValueError for options that do not go together."""
        if self.init and self.resume is not None:
            raise ValueError(
                "--resume goes on with a training, --init begins one: give one of them"
            )
        if (self.take or self.reset) and not self.init:
            raise ValueError("--take and --reset name layers of a run: say which, --init RUN")

    @cached_property
    def resumed(self) -> Path | None:
        """The run or checkpoint file to go on from. Raises ValueError if none is named or found."""
        if self.resume is None or self.resume:
            return self.resume[0] if self.resume else None
        if self.run_folder is None:
            newest = newest_run(self.images)
            print(f"Going on with {newest}.", file=sys.stderr)
            return newest
        return self.run_folder

    def resume_folder(self) -> Path | None:
        """The folder that a resumed training goes on in."""
        path = self.resumed
        if path is not None and path.suffix == ".safetensors" and not path.is_dir():
            return path.parent
        return path

    def opened(self, folder: Path) -> Pack:
        """The pack itself, or the one made of these images beside the run."""
        from alexnet.commands.pack import pack_next_to_run_with_bar
        from alexnet.packs.pack import open_pack
        from alexnet.sources import open_source

        if (Path(self.images) / "pack.json").is_file():
            return open_pack(Path(self.images))
        if self.resume is not None and (own := self.pack_of_resumed()):
            return own
        source = open_source(self.images)
        options, why = self.packing(source)
        how = f"{options['size']}×{options['size']} {why}"
        self.check_before_packing(source, options["size"], how)
        print(f"{self.images} is not a pack: packing it first, {how}", file=sys.stderr)
        return pack_next_to_run_with_bar(self.images, source, folder, **options)

    def pack_of_resumed(self) -> Pack | None:
        """The pack that a resumed training was begun on, if it was made of these images."""
        from alexnet.evaluation.images import trained_on

        begun = self.resume_folder()
        return trained_on(begun, self.images, may_be_relative=True) if begun else None

    def packing(self, source: Source) -> tuple[dict[str, Any], str]:
        """The options of a new pack, which are those of the network that it is for, and why."""
        from alexnet import checkpoint
        from alexnet.evaluation.images import packing_like
        from alexnet.packing.pack import DEFAULT_SIZE
        from alexnet.runs import checkpoint_of

        if start := self.init or (self.resumed and checkpoint_of(self.resumed)):
            options = packing_like(checkpoint.load(checkpoint.find(start)))
            return options, f"(fit: {options['fit']}), as the network of {start} was trained"
        native, crop = source.native_size, self.wanted_crop()
        if native and (crop is None or crop <= native):
            return {"size": native}, "as they are"
        if crop is None:
            return {"size": DEFAULT_SIZE}, "as in the paper"
        return {"size": packed_side(crop)}, f"for crops of {crop}×{crop}"

    def wanted_crop(self) -> int | None:
        """The side of the crops that the options ask for, if they do."""
        if self.changes.crop:
            return int(self.changes.crop)
        if self.recipe in RECIPES:
            return RECIPES[self.recipe].crop
        return self.crop_of_network()

    def crop_of_network(self) -> int | None:
        """The side of the images that the network asked for is made for."""
        from alexnet.nets import find

        return find(self.changes.network).size if self.changes.network else None

    def check_before_packing(self, source: Source, size: int, how: str) -> None:
        """Raise ValueError for a recipe that cannot be, before time is spent on its images."""
        import torch

        from alexnet.nets.variations import network_of
        from alexnet.sources.names import some

        if len(source.classes) < 2:
            raise ValueError(
                f"{self.images} has images of one class only, {some(source.classes)}: there is "
                "nothing to tell apart. Add a folder of images of another class"
            )
        if self.resume is not None:
            return
        name, _ = self.named(source.kind, size, 0, True)
        recipe = self.changed(name, size)
        if recipe.crop > size:
            raise ValueError(
                f"the recipe `{name}` cuts {recipe.crop}×{recipe.crop} pixels out of images, which "
                f"would be packed {how}. Say --crop {size * 7 // 8}, or pack them otherwise first: "
                f"alexnet pack IMAGES PACK --size {packed_side(recipe.crop)}"
            )
        with torch.device("meta"):
            network_of(recipe, len(source.classes))

    def chosen(self, pack: Pack) -> Recipe:
        """The recipe: resumed, named or recommended, with the changes asked for. Says which."""
        if self.resumed is not None and (recipe := recipe_of(self.resumed)) is not None:
            return dataclasses.replace(recipe, **self.given())
        images, validation = len(pack.splits["train"]), bool(len(pack.splits.get("val", ())))
        name, why = self.named(pack.source["kind"], pack.size, images, validation)
        recipe = self.changed(name, pack.size)
        self.tell_start(pack)
        print(f"Recipe `{name}` ({why}). It departs from the paper in:", file=sys.stderr)
        for field_name, (mine, paper) in recipe.differences(RECIPES["paper"]).items():
            print(f"  {field_name:<16} {mine}   (paper: {paper})", file=sys.stderr)
        return recipe

    def given(self) -> dict[str, Any]:
        """The fields of the recipe that are to be different."""
        return {k: v for k, v in vars(self.changes).items() if v is not None}

    def named(self, kind: str, size: int, images: int, validation: bool) -> tuple[str, str]:
        """The name of the recipe that is asked for or recommended for such a pack, and why."""
        if self.recipe is None:
            return recommend(kind, size, images, validation)
        if self.recipe not in RECIPES:
            raise ValueError(f"no recipe is called {self.recipe!r}; there are {', '.join(RECIPES)}")
        return self.recipe, "as asked"

    def changed(self, name: str, size: int) -> Recipe:
        """The recipe of this name with what the options change, for images of this side."""
        recipe = RECIPES[name]
        if self.recipe is None and self.init is not None:
            from alexnet.training.transfer import like

            recipe = like(recipe, self.init)
        elif self.recipe is None and (crop := self.crop_of_network()) and crop <= size < 2 * crop:
            recipe = dataclasses.replace(recipe, crop=crop)
        return dataclasses.replace(recipe, **self.given())

    def tell_start(self, pack: Pack) -> None:
        """Say with which network the training begins, and where its images were of another size."""
        if self.init is None:
            if self.recipe in FROM_TRAINED:
                print(
                    f"`{self.recipe}` goes on from a trained network: --init RUN", file=sys.stderr
                )
            return
        from alexnet.checkpoint import find, load

        if self.recipe is None:
            print(f"The network is that of {self.init}.", file=sys.stderr)
        side = load(find(self.init)).preprocessing.side
        if side != pack.size:
            print(
                f"It was trained on images of {side}×{side} pixels, and those of {pack.path} are "
                f"{pack.size}×{pack.size}: its crops show another part of each. To pack them "
                f"alike: alexnet pack IMAGES PACK --size {side}",
                file=sys.stderr,
            )

    def again(self, folder: Path) -> str:
        """The command that goes on with this training."""
        return shlex.join(["alexnet", "train", self.images, "--resume", str(folder)])


def newest_run(images: str) -> Path:
    """The run in runs/ that was trained on these images, or this pack, and was started last.

    Raises ValueError if there is none.
    """
    from alexnet.evaluation.images import trained_on
    from alexnet.runs import described_pack

    def is_of_images(run: Path) -> bool:
        pack = described_pack(run).get("path", "")
        if pack and os.path.realpath(pack) == os.path.realpath(images):
            return True
        return trained_on(run, images, may_be_relative=True) is not None

    found = Path("runs").glob("*/environment.json")  # written anew whenever a training starts
    started = {path.parent: path.stat().st_mtime_ns for path in found}
    if not (there := [run for run in started if is_of_images(run)]):
        raise ValueError(f"which run is to go on? There is none of {images} in runs/: --resume RUN")
    return max(there, key=started.__getitem__)


def recipe_of(resumed: Path) -> Recipe | None:
    """The recipe of a run that goes on; None for a folder that has none yet."""
    from alexnet.checkpoint import load_recipe
    from alexnet.runs import checkpoint_of

    checkpoint, described = checkpoint_of(resumed), resumed / "recipe.json"
    if checkpoint is not None:
        return load_recipe(checkpoint)
    try:
        return Recipe.from_dict(read_json(described))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{described} is damaged ({error}), and there is no checkpoint yet: begin again in "
            "another folder"
        ) from error


def next_commands(folder: Path, views: int) -> str:
    """What to do with a finished run."""
    place = shlex.quote(str(folder))
    return (
        f"Measure it:  alexnet evaluate {place} --views {views}\n"
        f"Use it:      alexnet predict {place} IMAGE…"
    )


def timestamp() -> str:
    """Local date and time, fit for a folder's name."""
    return time.strftime("%Y%m%d-%H%M%S")
