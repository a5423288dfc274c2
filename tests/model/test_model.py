"""The protocol keeps its promises in every state that it can reach, and each broken variant of it is caught.

Run with ``-s`` or ``-rA`` for the numbers and for the counterexamples.
"""

from __future__ import annotations

import functools

import pytest

from agentq.states import JOB_MOVES, JobStatus
from tests.model import promises
from tests.model.explore import Exploration, explore
from tests.model.faults import Troubled
from tests.model.state import ABSENT, BUDGETS, CODE
from tests.model.variants import VARIANTS, Variant
from tests.support.samples import EVERYTHING, wanted_sample

pytestmark = pytest.mark.timeout(600)  # one process may have to explore all of them, on a busy machine

PROTOCOLS = {
    "messages": Troubled(2, crashes=1, duplicates=1, losses=1),
    "leases": Troubled(2, expiries=1, unknown_commits=1),
    "commands": Troubled(2, errors=1, cancels=1, stops=1),
    "time": Troubled(2, kills=1, errors=1, deadlines=1),
    "replays": Troubled(1, errors=2, replays=2),
    "dead letters": Troubled(1, errors=1, duplicates=1, losses=1, flushes=1),
    "results by hand": Troubled(1, errors=1, resolves=1, stops=1),
    "last attempts": Troubled(1, crashes=1, unknown_commits=1),
    "other releases": Troubled(1, leaves=1, unknown_commits=1),
    "revokes": Troubled(2, errors=1, revokes=1),
    "replays of what was revoked": Troubled(1, errors=1, revokes=1, replays=1),
}
"""Faults that the engine must bear. Together at least those that bring each variant down."""
NOT_IN_THE_GATE = {"messages", "leases", "commands", "replays", "dead letters"}
"""Those that only ``scripts/test-all`` explores: what they find depends on the model, and not on the engine.

The others make every move of the engine's table.
"""
EXPLORED = [name for name in PROTOCOLS if name not in NOT_IN_THE_GATE or wanted_sample() == EVERYTHING]
LEAST_STATES = 400_000
NOT_MODELLED = {
    (JobStatus.WAITING, JobStatus.SCHEDULED): "a step with a delay",
    (JobStatus.WAITING, JobStatus.FAILED): "an each() that got no list",
    (JobStatus.SCHEDULED, JobStatus.SUCCEEDED): "a sleep, which no worker runs",
    (JobStatus.FAILED, JobStatus.WAITING): "a fan-in with missing members",
    (JobStatus.CANCELLED, JobStatus.SCHEDULED): "a member of a fan-in that misses it",
    (JobStatus.CANCELLED, JobStatus.WAITING): "a member of a fan-in that misses it",
    **dict.fromkeys(
        ((old, new) for old, moves in JOB_MOVES.items() for new in moves if JobStatus.BLOCKED in (old, new)),
        "a job with a limit, which has a model of its own",
    ),
    (JobStatus.QUEUED, JobStatus.SCHEDULED): "what a result by hand made ready, within its own transaction",
}


@functools.cache
def explored(name: str) -> Exploration:
    return explore(PROTOCOLS[name])


@pytest.mark.parametrize("name", EXPLORED)
def test_the_protocol_keeps_its_promises_in_every_state(name: str) -> None:
    protocol, found = PROTOCOLS[name], explored(name)
    print(f"{name} ({protocol.attempts} attempts, {protocol.budgets}): {found}")
    assert found.counterexample is None, str(found.counterexample)


def test_hundreds_of_thousands_of_states_were_visited() -> None:
    found = [explored(name) for name in EXPLORED]
    states, transitions = sum(one.states for one in found), sum(one.transitions for one in found)
    print(f"{states:,} states, {transitions:,} transitions, {sum(one.seconds for one in found):.1f} s of one core")
    assert states >= LEAST_STATES


def test_names_of_workers_and_headers_make_no_difference() -> None:
    by_name, as_one = (explore(Troubled(crashes=1), symmetric=symmetric) for symmetric in (False, True))
    print(f"by name: {by_name}; as one: {as_one}")
    assert by_name.counterexample is as_one.counterexample is None
    assert by_name.moves == as_one.moves
    assert as_one.states < by_name.states <= 4 * as_one.states


def test_every_kind_of_fault_and_command_is_in_a_budget() -> None:
    assert {name for protocol in PROTOCOLS.values() for name in protocol.budgets} == set(BUDGETS)


def test_every_move_in_the_table_of_the_engine_is_made() -> None:
    assert all(explored(name) for name in EXPLORED)
    table = {(CODE[old], CODE[new]) for old, moves in JOB_MOVES.items() for new in moves}
    made = {change for name in EXPLORED for change in PROTOCOLS[name].made}
    assert made == table - {(CODE[old], CODE[new]) for old, new in NOT_MODELLED}
    assert ABSENT not in {status for change in made for status in change}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_broken_variant_is_caught(variant: type[Variant]) -> None:
    found = explore(variant(), symmetric=False)
    assert found.counterexample is not None, f"not caught: {variant.__doc__}"
    print(f"{variant.__name__}: {variant.__doc__}")
    print(f"caught in {len(found.counterexample.steps)} steps, after {found}")
    print(found.counterexample)
    assert found.counterexample.promise == variant.breaks


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_the_protocol_bears_what_brings_a_variant_down(variant: type[Variant]) -> None:
    assert any(_bears(protocol, variant) for protocol in PROTOCOLS.values())


def test_every_promise_is_broken_by_a_variant() -> None:
    assert {variant.breaks for variant in VARIANTS} == promises.ALL


def _bears(protocol: Troubled, variant: type[Variant]) -> bool:
    return protocol.attempts == variant.most_attempts and all(
        protocol.budgets.get(name, 0) >= times for name, times in variant.budget.items()
    )
