"""A caller who waits in vain learns the condition; and where no worker can come, the ledger and the next step."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from agentq import AgentQ
from agentq.exceptions import ResultTimeout
from agentq.ledger.db.session import Ledger
from agentq.outcomes import RetryLater
from agentq.runtime.workflow import Workflow
from tests.cli.program import Inside
from tests.support.fake_worker import FAILURE, FakeWorker
from tests.support.steps import add, echo


def late(ledger: Ledger, workflow_id: Any, timeout: float = 0.01) -> str:
    """The timeout's message to a caller who waits for a workflow."""
    workflow: Workflow[Any] = Workflow(ledger, workflow_id)
    with pytest.raises(ResultTimeout) as waited:
        workflow.result(timeout)
    with pytest.raises(ResultTimeout) as awaited:
        asyncio.run(workflow.aresult(timeout))
    assert str(awaited.value) == str(waited.value)
    return str(waited.value)


def test_a_timeout_shows_the_workflows_condition(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | echo.s())
    said = late(fake.ledger, started.workflow_id)
    job_id = started.dispatches[0].job_id
    assert (
        f"after 0.01 s and goes on; look with: agentq workflows show {started.workflow_id}. Job {job_id}" in said
    )
    assert said.endswith(f"of step {add.name!r} waits for a free worker on queue 'celery'."), "a worker is alive"
    claimed = fake.take(*started.dispatches)
    assert late(fake.ledger, started.workflow_id).endswith(f"of step {add.name!r} runs.")
    fake.record(claimed, RetryLater(FAILURE, 60, "error: attempt 2 of 5"))
    assert "waits for its time, " in (said := late(fake.ledger, started.workflow_id))
    assert said.endswith("UTC (error: attempt 2 of 5).")


def test_a_timeout_without_a_live_worker_names_the_ledger_and_no_password(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2))
    fake.renew(-1)
    said = late(fake.ledger, started.workflow_id)
    assert "No live worker uses this ledger, " in said
    assert said.endswith("start one with: agentq up -A MODULE.")
    assert fake.ledger.url.database is not None
    assert fake.ledger.url.database in said
    if fake.ledger.url.password:
        assert str(fake.ledger.url.password) not in said


def test_a_timeout_of_zero_shows_the_status_alone_at_no_more_cost(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2))
    fake.renew(-1)
    assert late(fake.ledger, started.workflow_id, 0).endswith(f"agentq workflows show {started.workflow_id}")


def test_a_program_in_another_folder_learns_its_ledger_and_how_to_share_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from cron or a notebook: no ledger is named, so the folder's own is made, which no worker knows."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("AGENTQ_LEDGER", raising=False)
    path = elsewhere / ".agentq" / "ledger.db"
    agentq = AgentQ(Celery("lonely", broker="memory://", set_as_current=False))
    agentq.ensure_ledger()
    workflow = agentq.start(add.s(1, 2))
    with pytest.raises(ResultTimeout) as late:
        workflow.result(0.01)
    advice = (
        f"No live worker uses this ledger, {path}: start one with: agentq up -A MODULE, in {elsewhere}. A program "
        "that runs in another folder has a ledger and a broker of its own; name one of each for all, with "
        "AGENTQ_LEDGER and the app's broker_url."
    )
    assert str(late.value).endswith(advice)
    (job,) = workflow.jobs()
    assert advice in Inside(elsewhere).text("jobs", "show", str(job.id))
    assert advice in Inside(elsewhere).text("workflows", "show", workflow.id)
    agentq.ledger.close()
