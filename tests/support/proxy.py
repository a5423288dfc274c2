"""A proxy before PostgreSQL: cuts connections, delays answers, loses those of commits that took effect, counts."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self

from sqlalchemy import make_url

from tests.support.processes import tcp_ports

_ENCRYPTION_REQUESTS = (80_877_103, 80_877_104)
_IDLE = b"I"
_ANSWERED = b"QS"
"""A query, and the end of the messages that prepare and run one: after these a client waits."""


class LostReply:
    """The answer to be lost: that of the next commit of a transaction with a statement that has *text* in it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.event = threading.Event()

    @property
    def happened(self) -> bool:
        """True after such a commit, whose reply the client did not get."""
        return self.event.is_set()


class Proxy:
    """Forwards to the server of *url*; use it in a ``with`` and connect to ``proxy.url``."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._to_lose: list[LostReply] = []
        self._requests: Counter[int] = Counter()
        self.delay = 0.0
        """Seconds by which every answer comes later."""
        self.is_silent = False
        """True if no client is connected any more: a new one gets no answer."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        _in_thread(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut()

    @property
    def url(self) -> str:
        """The server's URL by way of the proxy."""
        host, port = self._listener.getsockname()
        return self._server.set(host=host, port=port).render_as_string(hide_password=False)

    def cut(self) -> int:
        """Cut all connections; returns how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def round_trips(self, pid: int) -> int:
        """Return how often the process *pid* has asked for an answer, on the connections that it has."""
        return sum(self._requests[port] for port in tcp_ports(pid))

    def lose_reply(self, text: str) -> LostReply:
        """Lose the answer of one commit: of the next transaction, or lone statement, that has *text* in it.

        The server commits; the client finds its connection cut.
        """
        reply = LostReply(text)
        self.put(reply)
        return reply

    def take(self, statement: bytes) -> LostReply | None:
        """Return the reply that the statement's transaction is to lose, for no other process."""
        with self._lock:
            found = next((reply for reply in self._to_lose if reply.text in statement), None)
            if found is not None:
                self._to_lose.remove(found)
            return found

    def put(self, reply: LostReply) -> None:
        """Let the next fitting transaction lose this reply."""
        with self._lock:
            self._to_lose.append(reply)

    def count_request(self, port: int) -> None:
        """Note that the client at *port* asks for an answer."""
        self._requests[port] += 1

    def forget(self, link: _Link) -> None:
        """Note that a connection is gone."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        address = (self._server.host or "127.0.0.1", self._server.port or 5432)
        while True:
            client, _ = self._listener.accept()
            if self.is_silent:
                client.close()
                continue
            try:
                server = socket.create_connection(address)
            except OSError:  # the server is down: so is the proxy
                client.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
            link.start()


class _Link:
    """A client's connection and the one to the server for it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._to_lose: LostReply | None = None
        self._prepared: dict[bytes, bytes] = {}
        self._first_is_done = threading.Lock()

    def start(self) -> None:
        """Forward both ways until either end is gone."""
        _in_thread(lambda: self._run(self._forward_requests))
        _in_thread(lambda: self._run(self._forward_answers))

    def cut(self) -> None:
        """Close both connections as seen from outside."""
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self, forward: Callable[[], None]) -> None:
        with suppress(OSError, EOFError):
            forward()
        self.cut()
        if self._to_lose is not None:
            self._proxy.put(self._to_lose)  # the connection went first
            self._to_lose = None
        if not self._first_is_done.acquire(blocking=False):
            self._proxy.forget(self)
            self._client.close()
            self._server.close()

    def _forward_requests(self) -> None:
        with self._client.makefile("rb") as stream:
            self._server.sendall(self._startup(stream))
            port = self._client.getpeername()[1]
            for kind, message in _messages(stream):
                if kind in _ANSWERED:
                    self._proxy.count_request(port)
                statement = self._statement(kind, message[5:])
                if statement and self._to_lose is None:
                    self._to_lose = self._proxy.take(statement)
                self._server.sendall(message)

    def _startup(self, stream: BinaryIO) -> bytes:
        while True:
            (length,) = struct.unpack("!I", head := _exactly(stream, 4))
            body = _exactly(stream, length - 4)
            if struct.unpack("!I", body[:4])[0] not in _ENCRYPTION_REQUESTS:
                return head + body
            self._client.sendall(b"N")

    def _statement(self, kind: bytes, body: bytes) -> bytes:
        """Return the text that a message brings to be run; a prepared one is run without its text."""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text
        elif kind == b"B":
            return self._prepared.get(body.split(b"\0", 2)[1], b"")
        return body if kind == b"Q" else b""

    def _forward_answers(self) -> None:
        answer, committed = b"", False
        with self._server.makefile("rb") as stream:
            for kind, message in _messages(stream):
                answer += message
                if kind in b"CE":  # a command is complete, or failed
                    committed = kind == b"C" and not message.startswith(b"ROLLBACK", 5)
                is_end = kind == b"Z"
                if is_end and self._ends_transaction(message[5:], committed):
                    return
                if is_end or self._to_lose is None:
                    time.sleep(self._proxy.delay if is_end else 0)
                    self._client.sendall(answer)
                    answer = b""

    def _ends_transaction(self, status: bytes, committed: bool) -> bool:
        """Say whether the answer that ends with this status is the one to be lost."""
        reply = self._to_lose
        if reply is None or status != _IDLE:
            return False
        self._to_lose = None
        if not committed:
            self._proxy.put(reply)
            return False
        reply.event.set()
        return True


def _messages(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The messages of PostgreSQL's protocol after the first one: a letter, a length, a body."""
    while True:
        head = _exactly(stream, 5)
        (length,) = struct.unpack("!I", head[1:])
        yield head[:1], head + _exactly(stream, length - 4)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise EOFError
    return found


def _in_thread(work: Callable[[], None]) -> None:
    def run() -> None:
        with suppress(OSError):
            work()

    threading.Thread(target=run, name="proxy", daemon=True).start()
