"""Imports flow one way inside the ledger too."""

from __future__ import annotations

from tests.setup.source import imports, modules

LEDGER = "agentq.ledger."
ORDER = ("db", "losses", "models", "knowledge", "records", "after_commit", "transaction", "history", "moves")
"""Each imports itself and those before it; the rest of the ledger comes after them."""
AFTER_THE_MOVES = ("db.session", "db.migrate", "db.migrations")
"""A session schedules the jobs that it cannot publish, by a move, and admits jobs to limits. A migration needs a
session and the models."""

MODULES = [module for module in modules() if module.startswith(LEDGER)]


def is_in(module: str, part: str) -> bool:
    return f"{module}.".startswith(f"{LEDGER}{part}.")


def rank(module: str) -> int:
    if any(is_in(module, part) for part in AFTER_THE_MOVES):
        return len(ORDER)
    return next((place for place, part in enumerate(ORDER) if is_in(module, part)), len(ORDER))


def test_a_module_of_the_ledger_imports_only_its_own_part_and_those_before_it() -> None:
    own = [(module, name) for module in MODULES for name in imports(module) if name.startswith(LEDGER)]
    assert [(module, name) for module, name in own if rank(name) > rank(module)] == []


def test_every_part_of_the_order_is_there() -> None:
    parts = (*ORDER, *AFTER_THE_MOVES)
    assert [part for part in parts if not any(is_in(module, part) for module in MODULES)] == []
