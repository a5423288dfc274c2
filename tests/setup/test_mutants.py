"""The mutants of scripts/mutants fit the engine as it is."""

from __future__ import annotations

import ast

import pytest

from scripts.mutation.mutant import Mutant
from scripts.mutation.mutants import MUTANTS
from tests.setup.source import ROOT


def test_mutants_have_different_names() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutants_text_is_in_its_file_once_and_its_replacement_is_python(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.text) == 1
    assert ast.dump(ast.parse(mutant.of(source))) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_tests_that_should_catch_it_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    assert [test for test in mutant.tests if not (ROOT / test).is_file()] == []
