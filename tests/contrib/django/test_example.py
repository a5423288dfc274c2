"""The example project, complete: a request starts a workflow, a worker runs it, a page shows the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contrib.django.project import Project
from tests.contrib.django.running import runserver, worker
from tests.support import Broker
from tests.support.waiting import eventually

TEXT = "Queues Past in one line.\nQueues Present in one line.\nQueues Future in one line."

DIE_BEFORE_THE_DISPATCH = """
import os
from django.db import transaction
import agentq
from reports.models import Report
from reports.tasks import write_report

with transaction.atomic():
    transaction.on_commit(lambda: os._exit(9))
    report = Report.objects.create(topic="queues")
    workflow = agentq.start(write_report(report))
    report.workflow = workflow.id
    report.save()
"""

AWAIT_THE_REPORT = """
import agentq
from reports.models import Report

agentq.workflow(str(Report.objects.get().workflow)).result(timeout=60)
"""

BOOK = """
from pathlib import Path
from tests.contrib.django.booking.tasks import book

assert book.delay(str(Path.cwd())).result(timeout=60) == 2, "the attempt after the one that was killed"
"""
COUNT = "from reports.models import Report; print(Report.objects.filter(topic='booked').count())"


@pytest.fixture
def working(request: pytest.FixtureRequest, empty_database: str, tmp_path: Path, redis_broker: Broker) -> Project:
    """The example project with its tables and a broker."""
    settings = getattr(request, "param", "research.settings")
    project = Project(empty_database, tmp_path, broker=redis_broker.url, settings=settings)
    project.manage("migrate", "--verbosity", "0")
    return project


def test_a_request_a_worker_and_the_result(working: Project) -> None:
    with runserver(working) as server, worker(working):
        started = server.post("/reports/", topic="queues")
        page = f"/reports/{started['report']}/"
        eventually(lambda: server.get(page)["status"] == "succeeded", 60, what="a report that is written")
        assert server.get(page)["text"] == TEXT
        assert server.post("/reports/", topic="queues")["report"] != started["report"]
    assert started["workflow"] in working.manage("agentq", "workflows", "list")


@pytest.mark.long
def test_a_crash_before_the_dispatch_loses_no_job(working: Project) -> None:
    died = working.run("shell", "-c", DIE_BEFORE_THE_DISPATCH)
    assert died.returncode == 9, died.stderr
    with worker(working):
        working.shell(AWAIT_THE_REPORT)
    assert TEXT in working.shell("from reports.models import Report; print(Report.objects.get().text)")


@pytest.mark.long
@pytest.mark.parametrize("working", ["tests.contrib.django.booking_settings"], indirect=True)
def test_rows_of_models_written_on_complete_are_there_once(working: Project) -> None:
    with worker(working):
        working.shell(BOOK)
    assert working.shell(COUNT).split()[-1] == "1"
