"""The state after a recovery: the audit, and the ends, results, effects and attempts of the scenario."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from agentq.ledger.audit.audit import audit
from agentq.ledger.models import ActionRow, AttemptRow, DeadLetterRow, EventRow, JobRow, LimitRow, WorkflowRow
from agentq.ledger.queries import workflows
from agentq.states import DeadLetterStatus, WorkflowStatus
from tests.sweep.diary import Diary
from tests.sweep.receipts import wrong_receipts
from tests.sweep.scenario import BY_HAND, GIVEN_UP, PAID, SHORT, Scenario
from tests.sweep.steps import GOAL, TOLD, advance, narrate, revoke_itself
from tests.sweep.world import ABOUT

_DECIDED = dict.fromkeys(GIVEN_UP, DeadLetterStatus.CANCELLED)
_DECIDED |= dict.fromkeys(BY_HAND | SHORT, DeadLetterStatus.RESOLVED)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run."""

    wrong: list[str]
    attempts: int
    """The number of attempts of all jobs together."""
    outcomes: set[str]
    """The outcomes of the attempts."""


def judge(connection: Connection, diary: Diary, scenario: Scenario) -> Verdict:
    """Find all that is wrong, in a transaction of its own."""
    wrong = [*map(str, audit(connection)), *_of_workflows(connection, scenario), *_of_letters(connection, diary)]
    wrong += [*_of_revokes(connection), *_of_slots(connection)]
    wrong += [*_of_narrations(connection), *_of_progress(connection), *wrong_receipts(connection, PAID)]
    return Verdict(
        wrong=[*wrong, *_of_effects(diary, scenario)],
        attempts=connection.scalar(select(func.sum(JobRow.attempt))) or 0,
        outcomes=set(connection.scalars(select(AttemptRow.outcome).distinct())),
    )


def _of_workflows(connection: Connection, scenario: Scenario) -> Iterator[str]:
    found = defaultdict(list)
    for row in connection.execute(select(WorkflowRow.key, WorkflowRow.id)):
        found[row.key].append(row.id)
    if {key: len(ids) for key, ids in found.items()} != dict.fromkeys(scenario.ends, 1):
        yield f"there should be one workflow for each of {[*scenario.ends]}, but there are {dict(found)}"
    for key, ids in found.items():
        for workflow_id in ids:
            status = workflows.workflow_status(connection, workflow_id)
            wanted, result = scenario.ends[key]
            if status.status != wanted:
                yield f"workflow {key!r} is {status.status}, not {wanted}: {_jobs(connection, workflow_id)}"
            elif wanted is WorkflowStatus.SUCCEEDED:
                (_, value) = workflows.workflow_result(connection, status)
                if value != result:
                    yield f"workflow {key!r} has the result {value!r}, not {result!r}"


def _of_letters(connection: Connection, diary: Diary) -> Iterator[str]:
    letters = select(DeadLetterRow.id, DeadLetterRow.status, ABOUT.label("about"))
    rows = connection.execute(letters.join(WorkflowRow)).all()
    for row in rows:
        wanted = _DECIDED.get(row.about, DeadLetterStatus.REPLAYED)
        if row.status != wanted:
            yield f"the dead letter of {row.about} is {row.status}"
    if {str(row.id) for row in rows} != diary.handled():
        yield f"the handler was called with {diary.handled()}, but there are {rows}"
    dead = [row for row in rows if row.about not in _DECIDED]
    replays = connection.scalar(select(func.count()).where(ActionRow.action == "replay"))
    if replays != len(dead):
        yield f"{replays} replays are noted, but {len(dead)} dead letters"


def _of_revokes(connection: Connection) -> Iterator[str]:
    revoked = connection.scalars(select(JobRow.id).where(JobRow.step == revoke_itself.name)).all()
    noted = connection.scalars(select(ActionRow.job_id).where(ActionRow.action == "revoke job")).all()
    if noted != revoked:
        yield f"revokes are noted of {noted}, but {revoked} were revoked"


def _of_slots(connection: Connection) -> Iterator[str]:
    taken = or_(LimitRow.used != 0, LimitRow.outstanding != 0, LimitRow.outstanding_tokens != 0)
    for limit in connection.execute(select(LimitRow.name, LimitRow.used, LimitRow.outstanding).where(taken)):
        yield f"{limit.used} slots and {limit.outstanding} starts of limit {limit.name!r} are used after the end"


def _of_narrations(connection: Connection) -> Iterator[str]:
    for job in connection.execute(select(JobRow.id, JobRow.attempt).where(JobRow.step == narrate.name)):
        query = select(EventRow.number, EventRow.attempt, EventRow.kind).where(EventRow.job_id == job.id)
        rows = connection.execute(query.order_by(EventRow.number)).all()
        kinds_by_attempt: dict[int, tuple[str, ...]] = {job.attempt: ()}
        for row in rows:
            kinds_by_attempt[row.attempt] = (*kinds_by_attempt.get(row.attempt, ()), row.kind)
        attempts = [row.attempt for row in rows]
        if (
            [row.number for row in rows] != [*range(1, len(rows) + 1)]
            or attempts != sorted(attempts)
            or any(kinds != TOLD[: len(kinds)] for kinds in kinds_by_attempt.values())
            or kinds_by_attempt[job.attempt] != TOLD
        ):
            yield f"attempt {job.attempt} succeeded, but the events are {rows}"


def _of_progress(connection: Connection) -> Iterator[str]:
    for job in connection.execute(select(JobRow.id, JobRow.attempt).where(JobRow.step == advance.name)):
        rows = connection.execute(select(EventRow.attempt, EventRow.data).where(EventRow.job_id == job.id)).all()
        if [(row.attempt, json.loads(row.data)["done"]) for row in rows] != [(job.attempt, GOAL)]:
            yield f"attempt {job.attempt} succeeded, but the progress is {rows}"


def _jobs(connection: Connection, workflow_id: object) -> str:
    rows = connection.execute(
        select(JobRow.step, JobRow.status, JobRow.attempt, JobRow.remaining)
        .where(JobRow.workflow_id == workflow_id)
        .order_by(JobRow.id)
    )
    return ", ".join(f"{row.step.rpartition('.')[2]} {row.status} {row.attempt} {row.remaining}" for row in rows)


def _of_effects(diary: Diary, scenario: Scenario) -> Iterator[str]:
    keys, attempts = defaultdict(set), defaultdict(list)
    for effect in diary.effects():
        keys[effect.what].add(effect.key)
        attempts[effect.what].append(effect.attempt)
    for what in sorted(scenario.effects - set(keys)):
        yield f"effect {what!r} never happened"
    for what in sorted(set(keys) - scenario.effects - scenario.may_happen):
        yield f"effect {what!r} happened"
    for what, found in keys.items():
        if len(found) > 1:
            yield f"effect {what!r} has more than one idempotency key: {sorted(found)}"
        if attempts[what] != sorted(set(attempts[what])):
            yield f"effect {what!r} came from attempts {attempts[what]}"
    if len(set().union(*keys.values())) != len(keys):
        yield f"two effects share an idempotency key: {dict(keys)}"
