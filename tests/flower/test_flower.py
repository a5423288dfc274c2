"""Flower, unchanged, beside agentq: it shows steps by their names and workflows by their ids, and no values."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from agentq import AgentQ, Workflow, each
from agentq.ledger.db import migrate
from agentq.states import JobKind
from tests.cli.program import Inside
from tests.setup.source import ROOT
from tests.support import Worker, client, eventually, redis_server, require_sound, sqlite_file
from tests.support.services import Broker, kill_group
from tests.support.steps import echo, flaky, numbers, plain, total

pytest.importorskip("flower")

CUSTOMER = "Ada-4711"
"""The argument that must not be seen."""
RUN_BY_WORKERS = (JobKind.STEP, JobKind.TASK)


class Flower:
    """A running Flower, as its REST API and its pages show it."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> str:
        with urlopen(self.address + path, timeout=10) as answer:
            return str(answer.read().decode())

    def post(self, path: str) -> int:
        try:
            with urlopen(Request(self.address + path, data=b"{}", method="POST"), timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code

    def is_up(self) -> bool:
        try:
            return self.get("/healthcheck") == "OK"
        except URLError:
            return False

    def tasks(self, root_id: str) -> dict[str, dict[str, Any]]:
        """Return what it has of one workflow, by task id."""
        tasks = json.loads(self.get("/api/tasks"))
        return {uuid: task for uuid, task in tasks.items() if task["root_id"] == root_id}


@dataclass
class Run:
    """A workflow that has ended, and what Flower has of it."""

    workflow: Workflow[Any]
    flower: Flower

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        jobs = {str(job.id) for job in self.workflow.jobs() if job.kind in RUN_BY_WORKERS}

        def ended() -> dict[str, dict[str, Any]]:
            tasks = self.flower.tasks(self.workflow.id)
            return tasks if {uuid for uuid, task in tasks.items() if task["state"] == "SUCCESS"} == jobs else {}

        return eventually(ended, what="the end of every job in Flower")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AgentQ, Flower]]:
    folder = tmp_path_factory.mktemp("flower")
    ledger = sqlite_file(folder)
    with redis_server() as broker, client(broker, ledger) as agentq:
        migrate.upgrade(agentq.ledger)
        with Worker(broker, ledger) as worker, running_flower(broker, ledger, folder) as flower:
            online = f'flower_worker_online{{worker="{worker.name}"}} 1.0'
            eventually(lambda: online in flower.get("/metrics"), 30, what="Flower's first event")

            def sees_jobs() -> bool:
                agentq.start(echo.s(0)).result(10)
                return flower.get("/api/tasks") != "{}"

            eventually(sees_jobs, 30, what="Flower to switch the worker's events on")
            yield agentq, flower
    require_sound(ledger)


@contextmanager
def running_flower(broker: Broker, ledger: str, folder: Path) -> Iterator[Flower]:
    port = free_port()
    command = [sys.executable, "-m", "celery", "-A", "tests.support.project", "flower"]
    own = {"AGENTQ_LEDGER": ledger, "AGENTQ_TEST_QUEUE": broker.queue, "CELERY_BROKER_URL": broker.url}
    own |= {"FLOWER_UNAUTHENTICATED_API": "1", "PYTHONPATH": str(ROOT)}
    log = folder / "flower.log"
    (folder / "flowerconfig.py").write_text("from agentq.contrib.flowerconfig import *\n")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--port={port}"],
            stdout=output,
            stderr=output,
            env=os.environ | own,
            cwd=folder,
            start_new_session=True,
        )
    flower = Flower(port)
    try:
        eventually(lambda: flower.is_up() or process.poll() is not None, 30, what="Flower's answer")
        assert process.poll() is None, log.read_text()
        yield flower
    finally:
        kill_group(process, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def fan(setting: tuple[AgentQ, Flower]) -> Run:
    return finished(setting, numbers.s(3) | each(echo.s(customer=CUSTOMER)) | echo.s(CUSTOMER))


@pytest.fixture(scope="module")
def retried(setting: tuple[AgentQ, Flower]) -> Run:
    return finished(setting, flaky.s(CUSTOMER, failures=1) | echo.s())


@pytest.fixture(scope="module")
def mixed(setting: tuple[AgentQ, Flower]) -> Run:
    return finished(setting, plain.s([1, 2]) | total.s())


def finished(setting: tuple[AgentQ, Flower], canvas: Any) -> Run:
    agentq, flower = setting
    workflow = agentq.start(canvas, tenant="acme")
    workflow.result(timeout=30)
    return Run(workflow, flower)


def test_steps_are_shown_under_their_own_names(fan: Run) -> None:
    names = sorted(task["name"] for task in fan.tasks.values())
    assert names == sorted([numbers.name, *[echo.name] * 4])


def test_a_plain_task_that_runs_as_a_job_is_shown_under_its_own_name(mixed: Run) -> None:
    assert {task["name"] for task in mixed.tasks.values()} == {plain.name, total.name}


@pytest.mark.parametrize("name", ["fan", "retried", "mixed"])
def test_the_arguments_are_the_workflow_and_the_tenant(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    for task in run.tasks.values():
        assert task["args"] == "()"
        assert ast.literal_eval(task["kwargs"]) == {"workflow": run.workflow.id, "tenant": "acme"}


def test_a_job_is_linked_to_the_one_before_it(retried: Run) -> None:
    by_name = {task["name"]: task for task in retried.tasks.values()}
    assert by_name[flaky.name]["parent_id"] is None
    assert by_name[echo.name]["parent_id"] == by_name[flaky.name]["uuid"]


def test_a_retry_stays_one_row_with_the_error_that_caused_it(retried: Run) -> None:
    (task,) = [task for task in retried.tasks.values() if task["name"] == flaky.name]
    assert task["retried"] < task["succeeded"]
    assert "ConnectionError: failure 1 of 1" in task["traceback"]


@pytest.mark.parametrize("name", ["fan", "retried"])
def test_flower_has_no_value_of_an_argument_or_result(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    assert CUSTOMER in str([(job.args, job.kwargs) for job in run.workflow.jobs()])
    pages = [run.flower.get(f"/task/{uuid}") for uuid in run.tasks]
    assert not [text for text in [*pages, run.flower.get("/api/tasks")] if CUSTOMER in text]


def test_tasks_are_found_by_their_workflow_and_tenant(fan: Run) -> None:
    assert fan.tasks
    found = json.loads(fan.flower.get(f"/api/tasks?search=kwargs:workflow={fan.workflow.id}"))
    assert found.keys() == fan.tasks.keys()


def test_a_jobs_page_shows_its_workflow_tenant_and_status(fan: Run) -> None:
    page = fan.flower.get(f"/task/{next(iter(fan.tasks))}")
    rows = page.replace("\n", "").replace(" ", "")
    assert f"<dt>Workflow</dt><dd>{fan.workflow.id}</dd>" in rows
    assert "<dt>Tenant</dt><dd>acme</dd>" in rows
    assert "<dt>Jobstatus</dt><dd>succeeded</dd>" in rows


def test_agentq_links_to_a_jobs_page(fan: Run, setting: tuple[AgentQ, Flower], tmp_path: Path) -> None:
    url = setting[0].ledger.url.render_as_string()
    program = Inside(tmp_path, {"AGENTQ_LEDGER": url, "AGENTQ_FLOWER_URL": fan.flower.address})
    job_id = next(iter(fan.tasks))
    (line,) = [line for line in program.text("jobs", "show", job_id).splitlines() if line.startswith("flower ")]
    link = line.split()[1]
    assert link.startswith(fan.flower.address)
    assert job_id in fan.flower.get(link.removeprefix(fan.flower.address))


def test_the_example_configuration_is_read_only(setting: tuple[AgentQ, Flower]) -> None:
    _, flower = setting
    assert flower.post(f"/api/task/async-apply/{total.name}") == 403
