"""A local HTTP server that fails as providers do: it answers, stays silent, hangs up or resets, as laid out."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Manner(Enum):
    """The behaviour of the server."""

    ANSWERS = "answers"
    STAYS_SILENT = "stays silent"
    HANGS_UP = "hangs up"
    RESETS = "resets"
    STOPS_HALF_WAY = "stops half-way"


@dataclass(frozen=True)
class Answer:
    """The server's answer to a request."""

    status: int = 200
    body: Mapping[str, Any] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = Manner.ANSWERS

    @property
    def data(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def content_type(self) -> str:
        if not isinstance(self.body, str):
            return "application/json"
        return "text/event-stream" if self.body.startswith(("event:", "data:")) else "text/html"


class Provider(ThreadingHTTPServer):
    """A server that does the same with every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = Answer()
        self.asked = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that closed its connection is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.answer
        self.close_connection = True
        match answer.manner:
            case Manner.STAYS_SILENT:
                self.server.over.wait(30)
            case Manner.HANGS_UP:
                self.connection.shutdown(socket.SHUT_RDWR)
            case Manner.RESETS:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case Manner.STOPS_HALF_WAY:
                self._send(answer, len(answer.data) + 1000)
            case Manner.ANSWERS:
                self._send(answer, len(answer.data))

    do_GET = do_POST

    def _send(self, answer: Answer, length: int) -> None:
        self.send_response_only(answer.status)
        headers = {"Content-Type": answer.content_type, "Content-Length": str(length), "Connection": "close"}
        for name, value in (headers | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the test output clean."""


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def url_where_nobody_listens() -> str:
    """Return a URL at which connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
