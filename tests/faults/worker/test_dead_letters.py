"""A job that failed for good is recorded, reported, and goes on after its replay, whatever is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import group

from agentq.exceptions import StateConflict, StepFailed
from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import DeadLetter
from agentq.runtime.app import AgentQ
from agentq.states import DeadLetterStatus, JobStatus, WorkflowStatus
from tests.faults.worker.place import worker_of
from tests.faults.worker.steps import need_file
from tests.runtime.partial_steps import part, report
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, total


def recorded(agentq: AgentQ, job_id: object) -> DeadLetter:
    """The dead letter of a job, as soon as it is recorded."""

    def look() -> DeadLetter | None:
        letter = dead_letters.get(agentq.ledger, str(job_id))
        return letter if letter.recorded_at else None

    letter = eventually(look, 20, what="a recorded dead letter")
    assert letter is not None
    return letter


def test_a_dead_letter_is_recorded_handled_and_replayed(
    redis_broker: Broker, ledger_url: str, gates: Gates, tmp_path: Path
) -> None:
    env = {"AGENTQ_TEST_LETTERS": str(gates.folder)}
    missing = tmp_path / "missing"
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, env=env) as worker:
        canvas = group(need_file.s(str(missing), 5), add.s(1, 2)) | total.s() | add.s(100)
        workflow = agentq.start(canvas, tenant="acme")
        with pytest.raises(StepFailed):
            workflow.result(20)
        job = next(job for job in workflow.jobs() if job.status == JobStatus.FAILED)
        gates.await_reached(f"letter-{job.id}")
        letter = recorded(agentq, job.id)
        assert (letter.step, letter.tenant, letter.attempts) == (need_file.name, "acme", 1)
        assert letter.snapshot["attempts"][0]["error_class"] == "FileNotFoundError"
        assert letter.snapshot["args"] == [str(missing), 5]
        eventually(lambda: "the handler is broken" in worker.log(), what="a word on the broken handler")
        missing.touch()
        dead_letters.replay(agentq.ledger, str(letter.id), actor="ann", reason="the file is there")
        assert workflow.result(20) == 108
        with pytest.raises(StateConflict, match="replayed"):
            dead_letters.replay(agentq.ledger, str(letter.id))
        after = dead_letters.get(agentq.ledger, str(letter.id))
        assert [(action.action, action.actor, action.reason) for action in after.actions] == [
            ("replay", "ann", "the file is there")
        ]
        assert gates.reached(f"letter-{job.id}") == 1
        require_sound(agentq)


@covers(Fault.LOSE_MESSAGE, Phase.DEAD_LETTER)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_a_lost_message_of_a_dead_letter_is_sent_again(
    redis_broker: Broker, ledger_url: str, gates: Gates, tmp_path: Path
) -> None:
    with client(redis_broker, ledger_url) as agentq:
        deaf = {"consume_dead_letters": False}
        with worker_of(redis_broker, ledger_url, settings=deaf), redis_broker.redis as redis:
            workflow = agentq.start(need_file.s(str(tmp_path / "missing"), 5))
            with pytest.raises(StepFailed):
                workflow.result(20)
            eventually(lambda: redis.llen(redis_broker.dead_letters), what="a message for the dead letter")
            redis.delete(redis_broker.dead_letters)
        env = {"AGENTQ_TEST_LETTERS": str(gates.folder)}
        with worker_of(redis_broker, ledger_url, env=env):
            gates.await_reached(f"letter-{job_of(workflow).id}")
            recorded(agentq, job_of(workflow).id)
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.REPLAY, Phase.DEAD_LETTER)
def test_a_replayed_job_that_fails_again_is_a_new_dead_letter(
    redis_broker: Broker, ledger_url: str, tmp_path: Path
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as first:
        workflow = agentq.start(need_file.s(str(tmp_path / "missing"), 5) | add.s(1))
        with pytest.raises(StepFailed):
            workflow.result(20)
        job_id = str(job_of(workflow).id)
        before = recorded(agentq, job_id)
        first.kill()
        dead_letters.replay(agentq.ledger, job_id)
        assert workflow.status == WorkflowStatus.RUNNING
        with worker_of(redis_broker, ledger_url):
            with pytest.raises(StepFailed):
                workflow.result(20)
            after = recorded(agentq, job_id)
        assert after.id != before.id
        letters = dead_letters.list_(agentq.ledger, DeadLetterFilter(status=None))
        assert [letter.status for letter in letters] == [DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYED]
        assert history(workflow) == ["failed", "failed"]
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.FAN_IN, Phase.DEAD_LETTER, Phase.REPLAY)
def test_members_of_a_killed_worker_are_a_dead_letter_of_the_fan_in_after_its_deadline(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    parts = [part.s(f"p{n}", how, str(gates.folder)) for n, how in enumerate(["work", "hang", "hang"])]
    loaded = {"arguments": ("-I", "tests.runtime.partial_steps"), "concurrency": 3}
    with client(redis_broker, ledger_url) as agentq:
        workflow = agentq.start(group(parts) | report.s().set(needs=2, within=1))
        with worker_of(redis_broker, ledger_url, **loaded) as worker:
            gates.await_reached("hanging", 2)
            eventually(lambda: workflow.jobs()[0].status == JobStatus.SUCCEEDED, what="a part that is there")
            worker.kill()
        with worker_of(redis_broker, ledger_url, **loaded):
            with pytest.raises(StepFailed, match="2 of its 3 members are missing, but it needs 2"):
                workflow.result(30)
            (letter,) = workflow.dead_letters()
            (gates.folder / "fixed").touch()
            dead_letters.replay(agentq.ledger, str(letter.id), actor="ann", reason="another machine")
            assert workflow.result(30) == {"there": ["p0", "p1", "p2"], "missing": []}
