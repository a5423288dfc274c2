"""Imports flow one way: each layer knows only those below it, by their types as well."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.setup.source import imports, modules, part_of

GROUND = ("exceptions", "ids", "job_log", "outcomes", "redaction", "settings", "states")
PROGRAMS = ("cli", "demo", "__main__")
LAYERS = (
    GROUND,
    ("policies", "embedded"),
    ("steps",),
    ("canvas",),
    ("ledger",),
    ("operations",),
    ("runtime",),
    ("contrib", "testing", "pool"),
    PROGRAMS,
)
RANKS = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
FACADE = RANKS["runtime"]
"""``import agentq`` gives what authors need, so it stands where the runtime does."""


def rank(module: str) -> int:
    return RANKS[part_of(module)] if part_of(module) else FACADE


def test_every_module_belongs_to_a_layer() -> None:
    assert {part_of(module) for module in modules()} - {""} <= RANKS.keys()


def test_a_module_imports_only_its_own_package_and_lower_layers() -> None:
    own = [(module, name) for module in modules() for name in imports(module) if name in modules()]
    assert [(module, name) for module, name in own if not may_import(module, name)] == []


def may_import(module: str, name: str) -> bool:
    both = {part_of(module), part_of(name)}
    if module.startswith("agentq.contrib.") and "commands" in module.split("."):  # a framework's programs
        return True
    if len(both) == 1 or both <= {*GROUND} or both <= {*PROGRAMS}:
        return True
    return rank(name) <= FACADE if module == "agentq" else rank(name) < rank(module)


def test_the_embedded_server_needs_nothing_but_the_exceptions() -> None:
    needed = {name for module in modules() if part_of(module) == "embedded" for name in imports(module)}
    own = {part_of(name) for name in needed if name.startswith("agentq.")}
    assert own <= {"embedded", "exceptions"}


def test_there_are_no_import_cycles() -> None:
    graph = {module: imports(module, late=False) & modules().keys() for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
