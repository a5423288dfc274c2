"""Dead letters are listed, counted and shown; what cannot be decided about one is refused with what to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agentq import each
from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters
from agentq.operations.dead_letters import CountBy, DeadLetterFilter
from agentq.outcomes import Fail, Failure
from agentq.states import DeadLetterKind, DeadLetterStatus, JobStatus
from tests.operations.letters import SECRET, WHO, age, ask, die, die_again, refuse_message, run_due
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo

OF_JOBS: dict[str, Callable[[Ledger, str], Any]] = {
    "replay": lambda ledger, letter_id: dead_letters.replay(ledger, letter_id),
    "edit": lambda ledger, letter_id: dead_letters.edit(ledger, letter_id, args=["two"]),
    "resolve": lambda ledger, letter_id: dead_letters.resolve(ledger, letter_id, result={"one": 1}),
    "assign": lambda ledger, letter_id: dead_letters.assign(ledger, letter_id, owner="ann"),
}
DECISIONS = {**OF_JOBS, "cancel": lambda ledger, letter_id: dead_letters.cancel(ledger, letter_id)}


def listed(fake: FakeWorker, **wanted: Any) -> list[uuid.UUID | None]:
    """The jobs of the dead letters that a filter finds."""
    return [letter.job_id for letter in dead_letters.list_(fake.ledger, DeadLetterFilter(**wanted))]


def counted(fake: FakeWorker, by: CountBy, **wanted: Any) -> list[tuple[str | None, int]]:
    """The counts, in their order."""
    found = dead_letters.count_by(fake.ledger, DeadLetterFilter(**wanted), by)
    return [(item.value, item.letters) for item in found]


def test_a_letter_that_is_assigned_stays_open_and_is_found_by_its_owner(fake: FakeWorker) -> None:
    claimed, other = die(fake, ask.s("one")), die(fake, ask.s("two"))
    letter = dead_letters.assign(
        fake.ledger, str(claimed.job_id), owner="bob", note=f"use {SECRET}, not the old one", **WHO
    )
    assert (letter.status, letter.owner, letter.note) == ("open", "bob", "use ***, not the old one")
    assert [(action.action, action.actor) for action in letter.actions] == [("assign to bob", "ann")]
    assert listed(fake, owner="bob") == [claimed.job_id]
    dead_letters.assign(fake.ledger, str(claimed.job_id), owner="eve")
    assert (listed(fake, owner="bob"), listed(fake, owner="eve")) == ([], [claimed.job_id])
    assert listed(fake) == [other.job_id, claimed.job_id]


@pytest.mark.parametrize("owner", ["", "x" * 256, "ann\n"])
def test_an_owner_has_a_name(fake: FakeWorker, owner: str) -> None:
    claimed = die(fake, ask.s("one"))
    with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
        dead_letters.assign(fake.ledger, str(claimed.job_id), owner=owner)


def test_those_that_need_a_person_and_those_of_messages_are_found(fake: FakeWorker) -> None:
    claimed, asks = die(fake, ask.s("one")), fake.begin(ask.s("two"))
    fake.record(asks, Fail(Failure("error", "ValueError", "who knows?"), needs_person=True))
    refuse_message(fake)
    assert listed(fake, needs_person=True) == [None, asks.job_id]
    assert listed(fake, needs_person=False) == [claimed.job_id]
    assert listed(fake, kind=DeadLetterKind.MESSAGE) == [None]
    assert listed(fake, kind=DeadLetterKind.JOB, needs_person=True) == [asks.job_id]


def test_counts_by_one_column(fake: FakeWorker) -> None:
    one, two = die(fake, ask.s("one")), die(fake, add.s(1, 2))
    die(fake, add.s(3, 4))
    assert counted(fake, CountBy.STEP) == [(add.name, 2), (ask.name, 1)]
    assert counted(fake, CountBy.CATEGORY) == [("error", 3)]
    assert counted(fake, CountBy.TENANT, step=ask.name) == [("acme", 1)]
    assert counted(fake, CountBy.WORKFLOW, workflow=str(two.workflow_id)) == [(str(two.workflow_id), 1)]
    dead_letters.cancel(fake.ledger, str(one.job_id))
    assert counted(fake, CountBy.STEP) == [(add.name, 2)]
    assert dead_letters.count(fake.ledger, DeadLetterFilter()) == 2


def test_counts_by_age_begin_with_the_youngest(fake: FakeWorker) -> None:
    for seconds in (30 * 86_400, 3 * 86_400, 2 * 86_400, 7_200, 0):
        age(fake, die(fake, add.s(1, 2)), seconds)
    assert counted(fake, CountBy.AGE) == [("last hour", 1), ("last day", 1), ("last week", 2), ("older", 1)]


def test_a_letter_not_yet_recorded_shows_its_job_all_the_same(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one", api_key=SECRET))
    letter = dead_letters.get(fake.ledger, str(claimed.job_id))
    assert letter.recorded_at is None
    assert letter.snapshot["kwargs"] == letter.kwargs == {"api_key": "***"}
    assert [attempt["error_class"] for attempt in letter.snapshot["attempts"]] == ["ValueError"]
    assert dead_letters.record(fake.ledger, letter.id).snapshot == letter.snapshot


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_closed_letter_takes_no_decision(fake: FakeWorker, decision: str) -> None:
    claimed = die(fake, ask.s("one"))
    letter = dead_letters.cancel(fake.ledger, str(claimed.job_id))
    for named in (letter.id, claimed.job_id):
        with pytest.raises(StateConflict, match=f"dead letter {letter.id} is cancelled, but must be open.*show"):
            DECISIONS[decision](fake.ledger, str(named))
    assert len(dead_letters.get(fake.ledger, str(letter.id)).actions) == 1


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_old_letter_of_a_job_that_died_again_names_the_new_one(fake: FakeWorker, decision: str) -> None:
    claimed = die(fake, ask.s("one"))
    old = dead_letters.replay(fake.ledger, str(claimed.job_id))
    die_again(fake)
    new = dead_letters.get(fake.ledger, str(claimed.job_id))
    with pytest.raises(StateConflict, match=f"{old.id} is replayed.* decide about dead letter {new.id}"):
        DECISIONS[decision](fake.ledger, str(old.id))
    assert dead_letters.get(fake.ledger, str(new.id)).status == DeadLetterStatus.OPEN


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_job_that_is_not_dead_has_nothing_to_decide(fake: FakeWorker, decision: str) -> None:
    claimed = fake.begin(ask.s("one"))
    with pytest.raises(
        NotFound, match=f"job {claimed.job_id} is running and has no dead letter.*agentq jobs show"
    ):
        DECISIONS[decision](fake.ledger, str(claimed.job_id))
    with pytest.raises(NotFound, match=r"no dead letter has the id .*agentq dead-letters list"):
        DECISIONS[decision](fake.ledger, str(uuid.uuid4()))


@pytest.mark.parametrize("decision", OF_JOBS)
def test_letters_of_messages_can_only_be_cancelled(fake: FakeWorker, decision: str) -> None:
    letter_id = refuse_message(fake)
    with pytest.raises(StateConflict, match=rf"{letter_id} is message, but must be job.*dead-letters cancel"):
        OF_JOBS[decision](fake.ledger, letter_id)
    letter = dead_letters.cancel(fake.ledger, letter_id, actor="ann", reason="an old deployment's")
    assert (letter.status, letter.owner, letter.note) == ("cancelled", "ann", "an old deployment's")
    assert (letter.args, letter.actions) == (None, [])
    with pytest.raises(StateConflict, match="is cancelled, but must be open"):
        dead_letters.cancel(fake.ledger, letter_id, actor="bob")


@pytest.mark.parametrize("decision", ["replay", "edit", "resolve"])
def test_an_each_without_a_list_can_only_be_cancelled(fake: FakeWorker, decision: str) -> None:
    claimed = fake.begin(echo.s() | each(echo.s()))
    fake.succeed(claimed, "no list")
    (letter,) = dead_letters.list_(fake.ledger, DeadLetterFilter())
    with pytest.raises(StateConflict, match=r"is each, but must be .*cancel"):
        DECISIONS[decision](fake.ledger, str(letter.id))
    assert dead_letters.get(fake.ledger, str(letter.id)).status == DeadLetterStatus.OPEN
    dead_letters.cancel(fake.ledger, str(letter.id))


def test_actor_and_reason_are_stored_on_any_ledger_with_any_characters(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    letter = dead_letters.cancel(fake.ledger, str(claimed.job_id), actor="a\x00nn" * 99, reason="\ud800 x" * 9_999)
    (action,) = letter.actions
    assert (len(action.actor), len(action.reason)) == (255, 4_000)


def test_a_replayed_letter_leaves_the_job_to_its_worker(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    dead_letters.replay(fake.ledger, str(claimed.job_id))
    run_due(fake)
    assert fake.job(claimed.job_id).status == JobStatus.SUCCEEDED
    with pytest.raises(StateConflict, match="is replayed, but must be open"):
        dead_letters.resolve(fake.ledger, str(claimed.job_id), result={"one": 1})
