"""The claims as data."""

import pytest

from alexnet import nets
from alexnet.claims.notes import NOTES, baseline, gained
from alexnet.claims.paper import CLAIMS, find
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe


def test_there_are_fifteen_in_order():
    numbers = [claim.number for claim in CLAIMS.values()]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 16))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_training_of_a_claim_exists(claim):
    for run in claim.runs.values():
        assert run.recipe is None or run.recipe in RECIPES
        recipe = Recipe.from_dict({**RECIPES[run.recipe or "paper"].to_dict(), **run.changes})
        assert recipe.network in nets.NETS
        assert run.start is None or run.start in claim.runs
    for members in claim.ensembles.values():
        assert set(members) <= set(claim.runs)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_says_what_the_paper_says_and_how_it_is_measured(claim):
    assert claim.section
    assert claim.quantities
    assert claim.command.startswith(f"alexnet claims run {claim.name}")
    assert not claim.statement.endswith(".")


def test_the_lab_notes_have_the_papers_ablations():
    exact = [
        gained(*pair, top)
        for pair in (("145-half", "145-2010"), ("148", "145"), ("147", "145"))
        for top in (1, 5)
    ]
    assert exact == pytest.approx([1.7, 1.2, 1.4, 1.2, 0.4, 0.3], abs=0.06)


def test_a_note_is_compared_with_one_on_the_same_images():
    assert all(NOTES[baseline(name)].data == note.data for name, note in NOTES.items())


def test_an_unknown_claim_names_those_there_are():
    with pytest.raises(ValueError, match=r"no claim is called 'relu'; there are .*relu-tanh"):
        find("relu")
