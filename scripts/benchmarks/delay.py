"""A longer way to a server: ``python -m benchmarks.delay FD HOST PORT SECONDS`` delays both directions."""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
from functools import partial


class Direction(asyncio.Protocol):
    """Takes what one end sends and gives it to the other, later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.other: Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._seconds, self._forward, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._loop.call_later(self._seconds, self._close)

    def _forward(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def _close(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()


class Client(Direction):
    """A client's end; it is read from when there is a server's end too."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        super().__init__(seconds)
        self._connect = partial(self._loop.create_connection, partial(Direction, seconds), host, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._connecting = self._loop.create_task(self._join())

    async def _join(self) -> None:
        assert self.transport is not None
        _, self.other = await self._connect()
        self.other.other = self
        self.transport.resume_reading()


async def _serve(listener: socket.socket, host: str, port: int, seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(partial(Client, host, port, seconds), sock=listener)
    await server.serve_forever()


def _main(descriptor: str, host: str, port: str, seconds: str) -> None:
    listener = socket.socket(fileno=int(descriptor))
    # select() counts microseconds; epoll, which asyncio prefers, rounds up to a whole millisecond.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(listener, host, int(port), float(seconds)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
