"""A local HTTP server that is down from its first request on, for a while, and notes who asks when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider(ThreadingHTTPServer):
    """Answers *status* for *down* seconds, with *retry_after* in its header if it is given; from then on 200."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, status: int, retry_after: int | None, down: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.retry_after, self.down = status, retry_after, down
        self.asked: list[float] = []
        """Seconds from the first request to each."""
        self._began = 0.0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def after(self) -> list[float]:
        """Seconds from its coming back to each request since."""
        return [seconds - self.down for seconds in self.asked if seconds >= self.down]

    def is_down(self) -> bool:
        """Note a request; say whether it meets the outage."""
        with self._lock:
            self._began = self._began or time.monotonic()
            self.asked.append(time.monotonic() - self._began)
            return self.asked[-1] < self.down


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        is_down = self.server.is_down()
        self.send_response_only(self.server.status if is_down else 200)
        if is_down and self.server.retry_after is not None:
            self.send_header("Retry-After", str(self.server.retry_after))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are counted, not printed."""


@contextmanager
def running(status: int, retry_after: int | None, down: float) -> Iterator[Provider]:
    """A provider that answers on a port of its own."""
    with Provider(status, retry_after, down) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
