"""psycopg's insides that agentq leans on: each test fails when they change, and says who leans on them.

What they are for is tested with a server, in ``tests/ledger/test_while_executing.py``.
"""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Generator
from unittest.mock import Mock

import psycopg
from psycopg import waiting
from psycopg.waiting import Ready, Wait


def test_all_that_a_cursor_asks_of_the_server_goes_through_the_wait_of_its_connection() -> None:
    """agentq/ledger/db/driver.py overrides it, and takes what is waited for as its first argument."""
    assert list(inspect.signature(psycopg.Connection.wait).parameters)[:2] == ["self", "gen"]
    connection = Mock(lock=threading.RLock(), adapters=psycopg.adapters)
    psycopg.Cursor(connection).execute("SELECT 1")
    (generator,), _ = connection.wait.call_args
    assert inspect.isgenerator(generator)


def test_a_wait_is_a_generator_of_what_it_waits_for_and_is_sent_what_is_ready() -> None:
    """agentq/ledger/db/driver.py works when the generator first waits to read: then all has been sent."""
    ready: list[object] = []

    def conversation() -> Generator[Wait, Ready, str]:
        for wait in (Wait.W, Wait.RW, Wait.R):
            ready.append((yield wait))
        return "rows"

    one, other = socket.socketpair()
    with one, other:
        other.send(b"answer")
        assert waiting.wait(conversation(), one.fileno(), interval=1.0) == "rows"
    assert [bool(found & Ready.R) for found in ready] == [False, bool(ready[1] & Ready.R), True]
    assert Wait.RW not in (Wait.R, Wait.W)
