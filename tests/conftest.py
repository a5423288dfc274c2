"""Fixtures of the whole suite: a ledger on each database, and brokers of a test's own."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from celery import Celery
from xdist.scheduler import LoadFileScheduling

from agentq import AgentQ
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.support import Broker, Gates, copied_ledger, empty, new_database, rabbitmq, redis_server, require_sound
from tests.support.samples import SAMPLE, left_out, wanted_sample
from tests.support.slowest import slowest_files

hypothesis.settings.register_profile("agentq", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("agentq")
_WITH_A_NODE = "tests/faults/broker/"
"""The tests that share a RabbitMQ node: each process that ran some would start one, which takes it ten seconds."""
_LONGEST = (
    *("tests/sweep/", _WITH_A_NODE, "tests/docs/test_snippets.py"),
    *("tests/testing/test_plugin.py", "tests/workflows/test_typed_calls.py"),  # which would be among the last
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of ``scripts/test`` for a run of all tests."""
    parser.addoption(
        "--sampled", action="store_true", help=f"of the long tests, run a quarter ({SAMPLE}=N or all)"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which of the long tests a run takes, so that it can be repeated."""
    return f"long tests: {SAMPLE}={wanted_sample()}" if config.getoption("sampled") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
    if config.getoption("sampled") and (others := {*left_out(items)}):
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=[*others])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep Python's collector from what is there to the end: it would go through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


class _ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Whole files for each process of pytest-xdist, and the tests that share a RabbitMQ node for one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return _WITH_A_NODE if nodeid.startswith(_WITH_A_NODE) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)  # some commands collect without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile | None:
    return _ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with the files that took longest."""
    lines = [*slowest_files(chain.from_iterable(terminalreporter.stats.values()))]
    if lines:
        terminalreporter.section("slowest files")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database that a ledger lives in."""
    return str(request.param)


@pytest.fixture(scope="session")
def ledger_template(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty ledger with its schema, to be copied."""
    with new_database(database, tmp_path_factory.mktemp("template")) as url:
        ledger = Ledger(url)
        migrate.upgrade(ledger)
        ledger.close()
        yield url


@pytest.fixture
def empty_database(database: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a schema, on SQLite and on PostgreSQL."""
    with new_database(database, tmp_path / "empty") as url:
        yield url


@pytest.fixture
def ledger_url(ledger_template: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty ledger with its schema, on SQLite and on PostgreSQL.

    Whatever the test did, its ledger is sound at the end, unless the test is marked ``unsound``.
    """
    is_unsound = request.node.get_closest_marker("unsound") is not None
    if ledger_template.startswith("sqlite"):
        with copied_ledger(ledger_template, tmp_path) as url:
            yield url
            if not is_unsound:
                require_sound(url)
    else:  # a new database takes a second where the disk is slow
        try:
            yield ledger_template
            if not is_unsound:
                require_sound(ledger_template)
        finally:
            empty(ledger_template)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger with its schema, on SQLite and on PostgreSQL."""
    ledger = Ledger(ledger_url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def agentq_app() -> Celery:
    """The app of ``agentq.testing``'s fixtures, configured for services that are nowhere."""
    app = Celery("tests", broker="redis://nowhere.invalid", set_as_current=False)
    AgentQ(app, ledger="postgresql://nowhere.invalid/none")
    return app


@pytest.fixture
def redis_broker() -> Iterator[Broker]:
    """A Redis of the test's own, which it may kill."""
    with redis_server() as broker:
        yield broker


@pytest.fixture
def rabbitmq_broker() -> Iterator[Broker]:
    """A queue of the test's own on RabbitMQ."""
    with rabbitmq() as broker:
        yield broker


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    """Gates at which steps can be held."""
    folder = tmp_path / "gates"
    folder.mkdir()
    return Gates(folder)
