"""The steps and parameters that workers know, and the number of live ones that can run a job."""

from __future__ import annotations

import json
import uuid

from agentq.ledger import knowledge, workers
from agentq.ledger.db.session import Ledger
from agentq.ledger.knowledge import Asked, Knowledge, Live, Need
from agentq.states import JobKind

QUEUES = frozenset({"q"})


def knowing(**steps: str) -> Knowledge:
    return Knowledge(QUEUES, steps, {"plain": "p1"})


def need(takes: str = "", *, step: str = "find", kind: str = JobKind.STEP) -> Need:
    return Need("q", kind, step, takes)


NAMES_ALONE = json.dumps({"queues": ["q"], "steps": ["find"], "tasks": ["plain"]})
"""The knowledge of a worker of the release before."""


def test_a_workers_knowledge_is_read_by_this_release_and_its_names_by_the_one_before() -> None:
    knowledge = knowing(find="d1")
    assert Knowledge.load(knowledge.dump()) == knowledge
    assert {name: frozenset(given) for name, given in json.loads(knowledge.dump()).items()} == {
        "queues": QUEUES,
        "steps": {"find"},
        "tasks": {"plain"},
    }


def test_a_worker_that_gives_names_alone_fits_any_arguments() -> None:
    older = Knowledge.load(NAMES_ALONE)
    live = Live([(older, 1), (knowing(find="d1"), 2)])
    assert live.ask(need()) == Asked(3, 3)
    assert live.ask(need("d1")) is None
    assert live.runs(need("d1"))
    assert not live.runs(need("d2"))


def test_workers_with_the_parameters_of_the_start_fit() -> None:
    live = Live([(knowing(find="d1"), 2), (knowing(find="d2"), 1), (knowing(), 1)])
    assert live.ask(need()) == Asked(4, 3)
    assert live.ask(need("d1")) == Asked(4, 2)
    assert live.ask(need("d3")) == Asked(4, 0)
    assert Asked(4, 2).says_how_many_take() == "2 live workers take them"
    assert Asked(1, 1).says_how_many_take() == "1 live worker takes them"
    assert Asked(4, 0).says_how_many_take() == "no live worker takes them; 4 live workers were asked"


def test_a_plain_task_fits_where_it_is_one_or_a_step_and_a_step_only_where_it_is_one() -> None:
    live = Live([(knowing(find="d1"), 1)])
    assert live.runs(need("p1", step="plain", kind=JobKind.TASK))
    assert not live.runs(need("p2", step="plain", kind=JobKind.TASK))
    assert live.runs(need("d1", kind=JobKind.TASK))
    assert not live.runs(need(step="plain"))


def test_rows_of_both_releases_are_read_together(ledger: Ledger) -> None:
    for knows in (Knowledge.load(NAMES_ALONE), knowing(find="d1")):
        ledger.write(
            lambda connection, knows=knows: workers.register(
                connection, uuid.uuid4(), hostname="w", pid=1, lease=60, knows=knows
            )
        )
    live = ledger.read(knowledge.live)
    assert live.ask(need()) == Asked(2, 2)
    assert live.runs(need("d1"))
