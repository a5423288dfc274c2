"""Mutants: the engine with one guard left out, each of which the tests must catch."""
