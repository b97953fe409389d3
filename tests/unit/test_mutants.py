"""The mistakes of tests/mutants.toml fit the code as it is; tests/integration/test_mutants.py makes them."""

from __future__ import annotations

import pytest

from mutants import MUTANTS, Mutant
from structure import CHECKOUT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_has_one_place_and_changes_it(mutant: Mutant) -> None:
    text = (CHECKOUT / mutant.path).read_text()
    assert mutant.made_in(text) != text


def test_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
