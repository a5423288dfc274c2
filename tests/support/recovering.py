"""A local HTTP server that is overloaded for a while, and then watches how its clients come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PATIENCE = 30.0
"""Seconds that a call is held at most until as many others have come as may."""


class RecoveringServer(ThreadingHTTPServer):
    """Refuses the calls of its first rounds with a 429, and then answers each call when no more may come.

    Args:
        rounds: how many calls each round has: all of them are there before the first one is refused.
        slots: how many calls may be there at once, once it has recovered.
        jobs: how many calls succeed in the end.
        retry_after: the seconds that it asks its clients to wait.
    """

    daemon_threads = True

    def __init__(self, rounds: list[int], slots: int, jobs: int, retry_after: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.retry_after = retry_after
        self.rounds, self.slots, self.jobs = rounds, slots, jobs
        self.came: list[float] = []
        """When each call came."""
        self.refused: list[float] = []
        """When each round was refused."""
        self.at_once: list[tuple[int, int]] = []
        """Of each call after the recovery, how many were there with it, and how many may be."""
        self.held_in_vain = 0
        """The calls for which no more came in time."""
        self._changed = threading.Condition()
        self._here = self._succeeded = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/"

    def call(self) -> bool:
        """Take one call; False where it is refused."""
        with self._changed:
            self.came.append(time.time())
            round_of_it = len(self.refused)
            self._here += 1
            is_served = round_of_it == len(self.rounds)
            if is_served:
                self.at_once.append((self._here, self._may_be))
            self._changed.notify_all()
            if is_served:
                self._hold(lambda: self._here >= min(self._may_be, self.jobs - self._succeeded))
                self._succeeded += 1
            else:
                self._hold(lambda: len(self.refused) > round_of_it or self._here == self.rounds[round_of_it])
                if len(self.refused) == round_of_it:
                    self.refused.append(time.time())
            self._here -= 1
            self._changed.notify_all()
            return is_served

    @property
    def _may_be(self) -> int:
        return min(self.slots, 2**self._succeeded)

    def _hold(self, until: Any) -> None:
        self.held_in_vain += not self._changed.wait_for(until, _PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    server: RecoveringServer

    def do_GET(self) -> None:
        is_served = self.server.call()
        self.send_response_only(200 if is_served else 429)
        if not is_served:
            self.send_header("Retry-After", str(self.server.retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Calls are noted, not printed."""


@contextmanager
def recovering_server(rounds: list[int], slots: int, jobs: int, retry_after: int) -> Iterator[RecoveringServer]:
    """Yield a server that answers on a port of its own."""
    with RecoveringServer(rounds, slots, jobs, retry_after) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
