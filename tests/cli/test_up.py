"""``agentq up`` and ``worker``: from nothing to a worker, which ends without losing what it runs."""

import signal
import subprocess
from pathlib import Path

import pytest

from agentq.embedded import Embedded
from agentq.ledger.db.session import Ledger
from agentq.operations import jobs
from agentq.states import JobStatus
from tests.cli.program import BIN, Program
from tests.support import eventually
from tests.support.worker import STOPS_WITHIN

PROJECT = """
import time
from celery import Celery
from agentq import AgentQ, step

app = Celery("proj")
app.conf.worker_soft_shutdown_timeout = 1
AgentQ(app)

@step(queue="slow lane")
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""


@pytest.fixture
def project(program: Program) -> Program:
    """A project that configures neither broker nor ledger."""
    Path(program.folder, "proj.py").write_text(PROJECT)
    return program


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_missing_app_is_named(program: Program, command: str) -> None:
    assert f"agentq {command} -A MODULE" in program.error(command)


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ["up", "-A", "proj", "-c1", "-l", "info"],
        ["worker", "-A", "proj", "-lINFO", "-c1", "-Q", "slow lane"],
    ],
    ids=lambda command: command[0],
)
def test_it_serves_its_queues_and_gives_back_what_it_runs_when_it_is_stopped(
    project: Program, command: list[str]
) -> None:
    log = Path(project.folder, "worker.log")
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [BIN / "agentq", *command],
            cwd=project.folder,
            env=project.environment(),
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: b" ready." in log.read_bytes() or worker.poll() is not None, 60, what="a ready worker")
        ledger = Ledger(Embedded(project.folder / ".agentq").ledger_url)
        _start(project, "nap.delay(0.0).result(20), nap.delay(600.0)")
        eventually(lambda: _statuses(ledger) == [JobStatus.RUNNING, JobStatus.SUCCEEDED], 20)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(STOPS_WITHIN) == 0
        assert _statuses(ledger)[0] in (JobStatus.QUEUED, JobStatus.SCHEDULED)
        ledger.close()
        assert b"alembic" not in log.read_bytes(), "how the ledger was made is nobody's matter"
    finally:
        worker.kill()
        worker.wait()


def _start(project: Program, code: str) -> None:
    subprocess.run(
        [BIN / "python", "-c", f"from proj import *; app.set_current(); {code}"],
        cwd=project.folder,
        env=project.environment(),
        check=True,
    )


def _statuses(ledger: Ledger) -> list[JobStatus]:
    return [job.status for job in jobs.list_(ledger, jobs.JobFilter())]
