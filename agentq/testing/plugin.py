"""The pytest plugin: fixtures that import what they need when a test asks for them, so that no other test pays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from celery import Celery

    from agentq.testing.inline import Inline
    from agentq.testing.worker import WorkerProcess


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the setting in pytest's configuration."""
    parser.addini(
        "agentq_app", "The Celery app of the agentq fixtures, as for celery -A; default: the current one."
    )


@pytest.fixture(scope="session")
def agentq_app(pytestconfig: pytest.Config) -> Celery:
    """The Celery app of the other fixtures: named by ``agentq_app`` in pytest's configuration, or the current one.

    A project with several apps gives a fixture of this name of its own.
    """
    from agentq.testing.apps import find

    return find(pytestconfig.getini("agentq_app"))


@pytest.fixture
def agentq_inline(agentq_app: Celery) -> Iterator[Inline]:
    """Workflows in the test's own process: a ledger in memory, no broker, no worker, a clock that can be moved."""
    from agentq.testing.inline import Inline

    with Inline(agentq_app) as inline:
        yield inline


@pytest.fixture
def agentq_worker(agentq_app: Celery, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A real worker process on a private broker and a SQLite ledger; its log is shown when the test fails."""
    from agentq.testing.worker import WorkerProcess

    with WorkerProcess(agentq_app, tmp_path / "agentq") as worker:
        yield worker
