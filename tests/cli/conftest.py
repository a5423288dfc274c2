"""A ledger with a past, made once by a real worker, for all tests that only look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentq import Workflow, each
from agentq.exceptions import StepFailed
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.runtime.app import AgentQ
from tests.cli.program import Inside, Loaded, Program
from tests.support import Worker, client, redis_server, require_sound, sqlite_file, steps


@dataclass
class CliLedger:
    """A ledger after a real worker's run: workflows that ended each way, and one whose job no worker takes."""

    program: Inside
    agentq: AgentQ
    ledger: Ledger
    succeeded: Workflow[object]
    failed: Workflow[object]
    retried: Workflow[object]
    secret: Workflow[object]
    queued: Workflow[object]


@pytest.fixture(scope="session")
def cli_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliLedger]:
    """The ledger of a project whose worker has ended."""
    folder = tmp_path_factory.mktemp("story")
    url = sqlite_file(folder)
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    with redis_server() as broker, client(broker, url) as agentq:
        env = {"AGENTQ_LEDGER": url, "CELERY_BROKER_URL": broker.url, "AGENTQ_TEST_QUEUE": broker.queue}
        with Worker(broker, url) as worker:
            fan = steps.numbers.s(3) | each(steps.add.s(1)) | steps.total.s()
            succeeded = agentq.start(fan, tenant="acme", key="fan-1")
            retried = agentq.start(steps.flaky.s("done", 1))
            secret = agentq.start(steps.echo.s("plain", api_key="sk-0123456789abcdef0123"))
            failed = agentq.start(steps.fail.s("no\x1b[31m luck\nat all") | steps.add.s(1))
            assert succeeded.result(30) == 6
            assert retried.result(30) == "done"
            secret.result(30)
            with pytest.raises(StepFailed):
                failed.result(30)
            assert worker.terminate() == 0
        queued = agentq.start(steps.add.s(1, 2).set(queue="nobody"), tenant="acme")
        yield CliLedger(Inside(folder, env), agentq, ledger, succeeded, failed, retried, secret, queued)
    ledger.close()
    require_sound(url)


@pytest.fixture
def installed(tmp_path: Path) -> Program:
    """The installed program, in an empty folder, with nothing configured."""
    return Program(tmp_path)


@pytest.fixture
def program(tmp_path: Path) -> Loaded:
    """The program as a process, in an empty folder, with nothing configured."""
    return Loaded(tmp_path)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """The program's commands in this process, in an empty folder, with nothing configured."""
    monkeypatch.chdir(tmp_path)
    return Inside(tmp_path)
