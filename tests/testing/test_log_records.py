"""The records of a job's lines carry its ids for programs: agentq's own lines, and those of the step."""

from __future__ import annotations

import logging

import pytest

import agentq
from agentq import Context, step
from agentq.exceptions import StepFailed
from agentq.testing.inline import Inline


@step(retries=0)
def tell_and_fail(ctx: Context) -> None:
    ctx.logger.info("%d pages", 3)
    raise ValueError("it is broken")


def test_a_line_about_a_job_carries_its_ids(agentq_inline: Inline, caplog: pytest.LogCaptureFixture) -> None:
    workflow = agentq.start(tell_and_fail.s(), tenant="shop")
    with caplog.at_level(logging.INFO, "agentq"), pytest.raises(StepFailed):
        workflow.result(5)
    (job,) = workflow.jobs()
    ids = {"step": tell_and_fail.name, "job_id": str(job.id), "attempt": 1, "workflow_id": workflow.id}
    mine = [record for record in caplog.records if hasattr(record, "agentq")]
    assert [record.agentq for record in mine] == [ids | {"tenant": "shop"}] * 2
    label = f"[{tell_and_fail.name} job={job.id} attempt=1] "
    assert mine[0].getMessage() == f"{label}3 pages"
    assert (
        mine[1].getMessage().startswith(f"{label}failed for good (attempts: 1 of 1): ValueError: it is broken; ")
    )
