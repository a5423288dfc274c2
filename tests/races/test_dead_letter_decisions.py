"""Two people decide about the same dead letter, or the answer to one of them is lost: one decision is made."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from celery import group

from agentq.exceptions import StateConflict
from agentq.ledger import dead_letters as ledger_dead_letters
from agentq.ledger.caretaking import due_jobs
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters
from agentq.states import DeadLetterStatus, JobStatus
from tests.operations.letters import ask, die
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker
from tests.support.proxy import Proxy
from tests.support.steps import add, total

ROUNDS = 20
ACTION = "INSERT INTO agentq_actions"


def decided(decision: Any, ledger: Ledger, letter_id: object, **how: Any) -> bool:
    """Decide about a dead letter; False where another process did."""
    try:
        decision(ledger, str(letter_id), **how)
    except StateConflict:
        return False
    return True


@pytest.mark.parametrize("how_many", [2, 6])
def test_one_of_concurrent_results_counts(ledger_url: str, how_many: int) -> None:
    with fakes(ledger_url, how_many) as all_fakes:
        for _ in range(ROUNDS):
            dead, alive = _branches(all_fakes[0])
            calls = [
                partial(decided, dead_letters.resolve, fake.ledger, dead, result=100 + number)
                for number, fake in enumerate(all_fakes)
            ]
            done = concurrently(calls)
            assert sorted(done) == [False] * (how_many - 1) + [True]
            all_fakes[0].run(*all_fakes[0].due())
            assert all_fakes[0].result(alive.workflow_id) == 100 + done.index(True) + 7


def test_one_of_a_result_and_a_replay_counts(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        for _ in range(ROUNDS):
            claimed = die(one, add.s(1, 2))
            calls = [
                partial(decided, dead_letters.resolve, one.ledger, claimed.job_id, result=30),
                partial(decided, dead_letters.replay, two.ledger, claimed.job_id),
            ]
            resolved, replayed = concurrently(calls)
            assert resolved is not replayed
            assert one.job(claimed.job_id).status == (JobStatus.SUCCEEDED if resolved else JobStatus.SCHEDULED)
            one.run(*one.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)))
            assert one.result(claimed.workflow_id) == (30 if resolved else 3)


def test_an_edit_beside_a_replay_is_in_time_or_refused(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        for _ in range(ROUNDS):
            claimed = die(one, add.s(1, 2))
            calls = [
                partial(decided, dead_letters.edit, one.ledger, claimed.job_id, args=[10, 20]),
                partial(decided, dead_letters.replay, two.ledger, claimed.job_id),
            ]
            edited, replayed = concurrently(calls)
            assert replayed
            one.run(*one.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)))
            assert one.result(claimed.workflow_id) == (30 if edited else 3)


def test_an_edit_that_finds_another_one_open_loses_neither(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        claimed = die(one, ask.s("one", limit=1))
        dead_letters.record(one.ledger, dead_letters.get(one.ledger, str(claimed.job_id)).id)
        first = '[["two"],{"limit":1}]'
        while_open(
            one.ledger,
            lambda c: ledger_dead_letters.edit(c, claimed.job_id, first, actor="ann", reason="first"),
            partial(dead_letters.edit, two.ledger, str(claimed.job_id), kwargs={"limit": 2}),
        )
        assert json.loads(one.job(claimed.job_id).arguments) == [["two"], {"limit": 2}]
        actions = dead_letters.get(one.ledger, str(claimed.job_id)).actions
        assert [action.replaced for action in actions] == [[["one"], {"limit": 1}], [["two"], {"limit": 1}]]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
@pytest.mark.parametrize("decision", ["replay", "resolve", "edit", "assign", "cancel"])
def test_a_decision_whose_answer_is_lost_is_made_once(ledger_url: str, decision: str) -> None:
    given: dict[str, dict[str, Any]] = {
        "resolve": {"result": 30},
        "edit": {"args": [10, 20]},
        "assign": {"owner": "ann"},
    }
    with fakes(ledger_url, 1) as (fake,), Proxy(ledger_url) as proxy:
        dead, _ = _branches(fake)
        beyond = Ledger(proxy.url)
        try:
            lost = proxy.lose_reply(ACTION)
            letter = getattr(dead_letters, decision)(beyond, str(dead), **given.get(decision, {}))
            assert lost.happened
            assert len(letter.actions) == 1
            assert letter.status == {
                "replay": DeadLetterStatus.REPLAYED,
                "resolve": DeadLetterStatus.RESOLVED,
                "cancel": DeadLetterStatus.CANCELLED,
            }.get(decision, DeadLetterStatus.OPEN)
            due = {"resolve": [total.name], "replay": [add.name]}
            assert [dispatch.step for dispatch in fake.due()] == due.get(decision, [])
        finally:
            beyond.close()


def _branches(fake: FakeWorker) -> tuple[Any, Any]:
    """Two branches, of which one is done; returns the id of the other's job, which is dead, and the claim."""
    dead, alive = map(fake.take, fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches)
    fake.fail(dead)
    fake.succeed(alive, 7)
    return dead.job_id, alive
