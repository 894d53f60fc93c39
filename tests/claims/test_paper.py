"""The claims as data: what they name exists, and their numbers agree with the lab notes."""

import pytest

from alexnet import nets
from alexnet.claims.lab_errors import LAB_ERRORS, compute_difference, get_baseline
from alexnet.claims.paper import CLAIMS, find_claim
from alexnet.recipes.named import RECIPES
from alexnet.recipes.recipe import Recipe


def test_the_claims_are_numbered_from_1_to_15_in_order():
    numbers = [claim.number for claim in CLAIMS.values()]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 16))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_recipes_networks_and_roles_that_a_claim_names_exist(claim):
    for training in claim.trainings.values():
        assert training.recipe is None or training.recipe in RECIPES
        recipe = Recipe.from_dict(
            {**RECIPES[training.recipe or "paper"].to_dict(), **training.changes}
        )
        assert recipe.network in nets.NETS
        assert training.start is None or training.start in claim.trainings
    for roles in claim.ensembles.values():
        assert set(roles) <= set(claim.trainings)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_has_a_section_a_statement_quantities_and_a_command(claim):
    assert claim.section
    assert claim.quantities
    assert claim.command.startswith(f"alexnet claims run {claim.name}")
    assert not claim.statement.endswith(".")


def test_differences_in_the_lab_notes_round_to_those_in_the_paper():
    exact = [
        compute_difference(*pair, top)
        for pair in (("145-half", "145-2010"), ("148", "145"), ("147", "145"))
        for top in (1, 5)
    ]
    assert exact == pytest.approx([1.7, 1.2, 1.4, 1.2, 0.4, 0.3], abs=0.06)


def test_networks_of_the_lab_notes_are_compared_on_the_same_images():
    assert all(
        LAB_ERRORS[get_baseline(name)].dataset == error.dataset
        for name, error in LAB_ERRORS.items()
    )


def test_an_unknown_claim_name_is_rejected_with_the_known_names():
    with pytest.raises(ValueError, match=r"no claim is called 'relu'; there are .*relu-tanh"):
        find_claim("relu")
