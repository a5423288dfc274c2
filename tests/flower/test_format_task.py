"""A job's page in Flower, from events alone."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from agentq.contrib.flower import format_task, task_page

SUMMARY = "{'workflow': '019a8e5c', 'tenant': 'acme'}"
JOB = uuid.UUID("019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11")


def formatted(**task: Any) -> SimpleNamespace:
    """A task as Flower has it, after agentq's format_task."""
    fields = {"kwargs": SUMMARY, "state": "STARTED", "result": None, "exception": None, "_fields": ("name",)}
    return format_task(SimpleNamespace(**fields | task))


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ({"state": "RECEIVED"}, "queued"),
        ({"state": "STARTED"}, "running"),
        ({"state": "RETRY"}, "scheduled"),
        ({"state": "SUCCESS", "result": "{'attempt': 2}"}, "succeeded"),
        ({"state": "SUCCESS", "result": "{'cancelled': 'the step cancelled itself'}"}, "cancelled"),
        ({"state": "SUCCESS", "result": "{'dropped': 'failed'}"}, "failed"),
        ({"state": "SUCCESS", "result": "{'dropped': 'blocked'}"}, "blocked"),
        ({"state": "SUCCESS", "result": "{'discarded': 1}"}, None),
        ({"state": "SUCCESS", "result": None}, None),
        ({"state": "FAILURE", "exception": "AttemptFailed('ValueError: no')"}, "failed"),
        ({"state": "FAILURE", "exception": "WorkerLostError('SIGKILL')"}, None),
        ({"state": "REVOKED"}, "cancelled"),
        ({"state": "AWAITING"}, None),
    ],
    ids=str,
)
def test_the_status_is_in_agentqs_words(events: dict[str, Any], status: str | None) -> None:
    task = formatted(**events)
    assert (task.workflow, task.tenant, task.job_status) == ("019a8e5c", "acme", status)
    assert task._fields == ("name", "workflow", "tenant", "job_status")


@pytest.mark.parametrize("kwargs", [None, "", "{}", "{'workflow': 1}", "(1,)", "{'workflow': ", "[" * 10_000])
def test_any_other_task_is_left_as_it_is(kwargs: Any) -> None:
    assert formatted(kwargs=kwargs)._fields == ("name",)


@pytest.mark.parametrize("flower_url", ["http://host:5555", "http://host:5555/"])
def test_the_page_of_a_job(flower_url: str) -> None:
    assert task_page(flower_url, JOB) == f"http://host:5555/task/{JOB}"
