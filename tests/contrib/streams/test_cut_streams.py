"""Streams of events that are cut: nothing is left in the server, and nothing is missed or sent twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentq.ledger import moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Claim
from tests.contrib.streams.web import FRAMEWORKS
from tests.runtime.stack import migrated_ledger
from tests.support import eventually
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

ROOT = Path(__file__).parents[3]
STREAMS = 10
EXECUTOR = min(32, (os.cpu_count() or 1) + 4)
"""Threads that an event loop keeps for what waits, however many streams there are."""


@dataclass(frozen=True)
class Web:
    """A web server, and a worker without processes on its ledger."""

    port: int
    fake: FakeWorker
    is_asynchronous: bool

    @contextmanager
    def stream(self, claimed: Claim, after: str | None = None) -> Iterator[Iterator[str]]:
        """The lines of a workflow's events; at the end of the ``with`` the connection is cut."""
        url = f"http://127.0.0.1:{self.port}/{claimed.workflow_id}"
        headers = {"Last-Event-ID": after} if after else {}
        with httpx.stream("GET", url, headers=headers, timeout=30, trust_env=False) as answer:
            assert answer.status_code == 200
            yield answer.iter_lines()

    def left(self) -> dict[str, int]:
        """The traces that streams left in the server."""
        return dict(httpx.get(f"http://127.0.0.1:{self.port}/left", timeout=30, trust_env=False).json())

    def report(self, claimed: Claim, *numbers: int) -> None:
        """Record as many events as there are numbers."""
        for number in numbers:
            self.fake.write(
                lambda tx, data=str(number): moves.record_event(tx, claimed.job_id, claimed.attempt, "draft", data)
            )

    def is_connected(self) -> bool:
        """Say whether anybody is connected to the server, or was and is not let go."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        states = [state for _, local, _, state, *_ in lines if int(local.split(":")[1], 16) == self.port]
        return bool(set(states) & {"01", "08"})  # ESTABLISHED, CLOSE_WAIT


@pytest.fixture(scope="module", params=FRAMEWORKS)
def web(request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server of each framework."""
    pytest.importorskip(request.param.partition("_")[0])
    folder = tmp_path_factory.mktemp("streams")
    with migrated_ledger(database, folder) as url, serving(request.param, url, folder / "log") as port:
        ledger = Ledger(url)
        yield Web(port, FakeWorker(ledger), request.param in ("starlette", "django_asgi"))
        ledger.close()


@contextmanager
def serving(framework: str, ledger_url: str, log: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "tests.contrib.streams.web", framework, str(port)]
    with log.open("wb") as output:
        environment = {**os.environ, "AGENTQ_LEDGER": ledger_url}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        eventually(lambda: _listens(port), 60, what="a web server that listens")
        yield port
    except BaseException as error:
        error.add_note(log.read_text()[-3_000:])
        raise
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Frame:
    """An event as it came."""

    id: str
    event: str
    data: str

    @property
    def kind_and_data(self) -> tuple[str, Any]:
        """The kind and the data of the step's event."""
        return self.event, json.loads(self.data).get("data")


def frames(lines: Iterable[str]) -> Iterator[Frame]:
    """Yield each event that came whole."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif not line and "id" in fields:
            yield Frame(**fields)
            fields = {}


@pytest.mark.long
def test_streams_that_are_cut_leave_nothing_in_the_server(web: Web) -> None:
    claimed = web.fake.begin(add.s(1, 2))
    before = web.left()
    with ExitStack() as stack:
        streams = [frames(stack.enter_context(web.stream(claimed))) for _ in range(STREAMS)]
        assert {next(stream).event for stream in streams} == {"workflow.started"}
        assert web.left()["streams"] == STREAMS
    eventually(lambda: web.left()["streams"] == 0, 20, what="no streams")
    eventually(lambda: web.left()["connections"] == 0, what="no connection to the ledger in use")
    eventually(lambda: not web.is_connected(), what="no connection to the server")
    most = before["threads"] + (EXECUTOR if web.is_asynchronous else 0)
    eventually(lambda: web.left()["threads"] <= most, what=f"{most} threads at most")


@pytest.mark.long
def test_a_client_that_is_cut_off_again_and_again_gets_all_and_nothing_twice(web: Web) -> None:
    claimed = web.fake.begin(add.s(1, 2))
    found: list[Frame] = []
    for begin in range(0, 40, 8):
        web.report(claimed, *range(begin, begin + 4))
        with web.stream(claimed, found[-1].id if found else None) as lines:
            stream = frames(lines)
            found += islice(stream, 2)
            web.report(claimed, *range(begin + 4, begin + 8))
            found += islice(stream, 3)  # and there is more
    web.fake.succeed(claimed, 3)
    with web.stream(claimed, found[-1].id) as lines:
        found += frames(lines)
    drafts = [("draft", number) for number in range(40)]
    ends = [("job.succeeded", None), ("workflow.succeeded", None)]
    assert [frame.kind_and_data for frame in found] == [found[0].kind_and_data, *drafts, *ends]
    assert found[0].event == "workflow.started"
    assert len({frame.id for frame in found}) == len(found)


def test_heartbeats_come_while_nothing_happens(web: Web) -> None:
    claimed = web.fake.begin(add.s(1, 2))
    with web.stream(claimed) as lines:
        started = next(frames(lines))
        comments = [line for line in islice(lines, 6) if line]
        assert comments == [": heartbeat"] * 3
        web.report(claimed, 1)
        assert next(frames(line for line in lines if line != ": heartbeat")).kind_and_data == ("draft", 1)
    with web.stream(claimed, started.id) as lines:
        assert next(frames(lines)).kind_and_data == ("draft", 1)
