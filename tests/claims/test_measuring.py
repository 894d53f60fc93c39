"""Claims measured end to end, with the commands that the table prints, on small packs."""

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image
from tests.claims.conftest import SMALL, run
from tests.conftest import picture

from alexnet.claims.measuring import measure_claim
from alexnet.claims.paper import CLAIMS
from alexnet.claims.results import load
from alexnet.claims.trainings import MeasurementSettings, Replicate, TrainingInterrupted
from alexnet.packs.pack import open_pack
from alexnet.recipes.named import RECIPES

ON_IMAGENET = [c for c in CLAIMS.values() if c.dataset and c.dataset.kind != "cifar10"]

LAYOUT = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "ilsvrc_layout.py"))


@pytest.mark.parametrize("claim", ON_IMAGENET, ids=lambda claim: claim.name)
def test_the_command_that_measures_a_claim_on_imagenet_runs(claim, folder, miniatures, capsys):
    assert run(f"{claim.command} {SMALL} --seeds 1") == 0
    (found,) = load(claim.name, folder / "claims" / "results")
    numbers = *claim.quantities, *claim.unjudged
    assert all(isinstance(x, float) for q in numbers for x in found.values(q))
    assert not found.is_on_paper_data(claim)
    assert "1 of " in found.label()
    assert "not measured" in capsys.readouterr().out


def test_archives_in_imagenets_layout_can_be_packed_and_measured(tmp_path, miniatures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split, images in (("train", 6), ("val", 2)):
        for label, wordnet_id in enumerate(("n01440764", "n02102040", "n03888257")):
            place = tmp_path / "images" / split / wordnet_id
            place.mkdir(parents=True)
            for number in range(images):
                Image.fromarray(picture(label, number, 80)).save(place / f"{number}.JPEG")
    LAYOUT["main"](tmp_path / "images", tmp_path / "ILSVRC2012")
    assert run("alexnet pack ILSVRC2012 ilsvrc2012.pack --size 72 --processes 1") == 0
    assert run(f"{CLAIMS['response-norm'].command} {SMALL} --seeds 1") == 0
    (found,) = load("response-norm", tmp_path / "claims" / "results")
    assert found.data["kind"] == "ilsvrc2012"
    assert not found.is_on_paper_data(CLAIMS["response-norm"])  # eighteen images are not ImageNet


def test_a_training_is_made_once_and_shared_by_claims(folder, miniatures, monkeypatch):
    assert run(f"alexnet claims run two-towers --pack ilsvrc2012.pack {SMALL}") == 0
    runs = {path.name for path in (folder / "claims" / "runs").iterdir()}
    assert len(runs) == 2
    monkeypatch.setattr("alexnet.training.train.train", None)  # nothing is trained a second time
    assert run(f"alexnet claims run two-towers --pack ilsvrc2012.pack {SMALL}") == 0
    assert run(f"alexnet claims run ten-views --pack ilsvrc2012.pack {SMALL}") == 0
    assert {path.name for path in (folder / "claims" / "runs").iterdir()} == runs


def test_with_run_a_finished_run_is_measured_and_not_changed(folder, miniatures):
    assert run(f"alexnet train ilsvrc2012.pack mine --recipe small {SMALL}") == 0
    before = {path.name for path in (folder / "mine").iterdir()}
    assert run("alexnet claims run ten-views --run mine --device cpu") == 0
    assert not (folder / "claims" / "runs").exists()
    assert {path.name for path in (folder / "mine").iterdir()} == before
    (found,) = load("ten-views", folder / "claims" / "results")
    assert found.epochs() == (1, RECIPES["small"].epochs)


def test_a_saved_measurement_contains_its_provenance(folder, miniatures):
    run(f"alexnet claims run ten-views --pack ilsvrc2012.pack {SMALL}")
    made = json.loads((folder / "claims/results/ten-views.json").read_text())["measurements"][0]
    assert {"date", "commit", "command", "device_name", "torch"} <= set(made["made"])
    assert made["data"]["classes"] == 3
    assert made["records"][0]["runs"]["the network"]["scores"]["10"]["seen"] == 12


def test_counts_are_saved_after_every_seed(folder, miniatures, capsys):
    assert run(f"alexnet claims run two-towers --pack ilsvrc2012.pack {SMALL} --seeds 2") == 0
    (found,) = load("two-towers", folder / "claims" / "results")
    assert [record["seed"] for record in found.seed_results] == [0, 1]
    assert "two-towers: 1 of 2 seeds" in capsys.readouterr().err


def test_each_precision_has_trainings_of_its_own(folder, monkeypatch):
    asked = []

    class Stopped:
        signal, saved = 15, True

    def train(pack, folder, recipe, *, precision, **_):
        asked.append((precision, folder))
        return Stopped()

    monkeypatch.setattr("alexnet.training.train.train", train)
    monkeypatch.setattr("alexnet.device.find_bf16_units", lambda: "AMX")
    for precision in ("auto", "bf16"):
        command = f"alexnet claims run ten-views --pack ilsvrc2012.pack {SMALL}"
        assert run(f"{command} --precision {precision}") == 143
    assert [precision for precision, _ in asked] == ["auto", "bf16"]
    assert asked[0][1] != asked[1][1]


def test_an_interrupted_training_ends_the_measurement(folder, monkeypatch):
    class Stopped:
        signal, saved = 15, True

    monkeypatch.setattr("alexnet.training.train.train", lambda *_, **__: Stopped())
    settings = MeasurementSettings(
        pack=open_pack("ilsvrc2012.pack"), changes={"epochs": 1, "crop": 64}
    )
    with pytest.raises(TrainingInterrupted, match="run the same command again") as stop:
        next(measure_claim(CLAIMS["ten-views"], settings))
    assert stop.value.exit_code == 143


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run dropout --pack ilsvrc2012.pack --dropout 0.3", "compares dropout"),
        ("run two-towers", "name images to measure two-towers on"),
        ("run fall-2009 --pack fall2009.pack", "name their packs with --earlier"),
        (
            "run ten-views --run mine --precision bf16 --pack ilsvrc2012.pack",
            "leave --precision out",
        ),
        ("run depth --run mine --pack ilsvrc2012.pack", "Leave --run out"),
        ("run", "name a claim"),
        ("run relu", "no claim is called 'relu'"),
        ("run ten-views --pack ilsvrc2012.pack --recipe big", "--recipe big: that is no recipe"),
    ],
)
def test_settings_that_do_not_fit_the_claim_are_rejected_with_advice(
    command, message, folder, capsys
):
    assert run(f"alexnet claims {command}") in (1, 2)
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_the_number_of_the_seed_is_added_to_the_recipes_seed(folder):
    settings = MeasurementSettings(
        pack=open_pack("ilsvrc2012.pack"), changes={"seed": 10, "epochs": 2}
    )
    recipe, whole = Replicate(CLAIMS["ten-views"], settings, 2).resolve_recipe("the network")
    assert (recipe.seed, recipe.epochs, whole) == (12, 2, RECIPES["small"].epochs)
