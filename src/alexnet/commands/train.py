"""`alexnet train`: images or a pack in, a trained network out."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shlex
import sys
import time
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from alexnet.lab_notes import FROM_TRAINED
from alexnet.recipe import RECIPES, Recipe, recommend

if TYPE_CHECKING:
    from alexnet.data.dataset import Pack


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
    resume: Path | None = None
    """Go on from this run's last checkpoint, or from this checkpoint file."""
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
        from alexnet.learn.train import train
        from alexnet.learn.transfer import Transfer
        from alexnet.screen import TrainingScreen

        self.check()
        name = Path(self.images.rstrip("/")).name
        folder = self.run_folder or self.resume_folder() or Path("runs") / f"{name}-{timestamp()}"
        pack = opened(self.images, folder)
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
                resume=self.resume,
                init=Transfer(self.init, self.take, self.reset) if self.init else None,
                save_minutes=self.save_minutes,
                log_seconds=self.log_seconds,
                screen=screen,
            )
        if outcome.signal is not None:
            state = "saved" if outcome.saved else "NOT saved"
            print(f"Stopped and {state}. Go on: {self.again(folder)}", file=sys.stderr)
            return 128 + outcome.signal
        print(next_commands(folder, 10 if recipe.flip else 5))
        return int(not outcome.saved)

    def check(self) -> None:
        """Raise ValueError for options that do not go together."""
        if self.init and self.resume:
            raise ValueError(
                "--resume goes on with a training, --init begins one: give one of them"
            )
        if (self.take or self.reset) and not self.init:
            raise ValueError("--take and --reset name layers of a run: say which, --init RUN")

    def resume_folder(self) -> Path | None:
        """The folder that a resumed training goes on in."""
        if self.resume is None:
            return None
        return self.resume if self.resume.is_dir() else self.resume.parent

    def chosen(self, pack: Pack) -> Recipe:
        """The recipe: resumed, named or recommended, with the changes asked for. Says which."""
        changes = {k: v for k, v in vars(self.changes).items() if v is not None}
        if self.resume is not None:
            from alexnet.learn.checkpoint import find, load_recipe

            return dataclasses.replace(load_recipe(find(self.resume, ("last", "best"))), **changes)
        name, why = self.recipe, "as asked"
        if name is None:
            images, kind = len(pack.splits["train"]), pack.source["kind"]
            name, why = recommend(kind, pack.size, images, "val" in pack.splits)
        if name not in RECIPES:
            raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
        recipe = self.start_from(RECIPES[name])
        recipe = dataclasses.replace(recipe, **changes)
        print(f"Recipe `{name}` ({why}). It departs from the paper in:", file=sys.stderr)
        for field_name, (mine, paper) in recipe.differences(RECIPES["paper"]).items():
            print(f"  {field_name:<16} {mine}   (paper: {paper})", file=sys.stderr)
        return recipe

    def start_from(self, recipe: Recipe) -> Recipe:
        """A recipe that nobody named takes over the network that the training begins with."""
        if self.init is None and self.recipe in FROM_TRAINED:
            print(f"`{self.recipe}` goes on from a trained network: --init RUN", file=sys.stderr)
        if self.init is None or self.recipe is not None:
            return recipe
        from alexnet.learn.transfer import like

        print(f"The network is that of {self.init}.", file=sys.stderr)
        return like(recipe, self.init)

    def again(self, folder: Path) -> str:
        """The command that goes on with this training."""
        return shlex.join(["alexnet", "train", self.images, "--resume", str(folder)])


def opened(images: str, folder: Path) -> Pack:
    """The pack itself, or the one made of these images beside the run."""
    from alexnet.commands.pack import make
    from alexnet.data.dataset import open_pack

    if (Path(images) / "pack.json").is_file():
        return open_pack(Path(images))
    beside = folder.parent / f"{Path(images.rstrip('/')).name}.pack"
    print(f"{images} is not a pack: packing it first, into {beside}", file=sys.stderr)
    return make(images, beside)


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
