"""The points at which a run can crash, found by listening to the database's driver and to the broker's client."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kombu.message import Message
from kombu.messaging import Producer
from sqlalchemy import Engine

import agentq

BEFORE, AFTER = "before", "after"
_PACKAGE = str(Path(agentq.__file__).parent)
_PASSED_OVER = (str(Path(_PACKAGE, "ledger", "db", "session.py")), str(Path(_PACKAGE, "embedded")))
_TABLE = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM|FROM)\s+(\w+)")


class Points:
    """Counts the points of a run in their order, and stops at those that it was given."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []
        self._stops: Container[int | None] = ()
        self._stop: Callable[[str], object] = str
        self._naming = False
        self._hidden = False

    def begin(self, stops: Container[int | None], stop: Callable[[str], object], *, naming: bool) -> None:
        """Begin a run that calls *stop* at each of *stops* with the point's name.

        Keep the names of all points where *naming*, which takes time.
        """
        self.count = 0
        self.names.clear()
        self._stops, self._stop = stops, stop
        self._naming = naming

    def reach(self, when: str, what: Callable[[], str]) -> None:
        """Come to a point."""
        if self._hidden:
            return
        if self.count in self._stops:
            self._stop(_name(when, what))
        if self._naming:
            self.names.append(_name(when, what))
        self.count += 1

    @contextmanager
    def around(self, what: Callable[[], str]) -> Iterator[None]:
        """A point before and a point after."""
        self.reach(BEFORE, what)
        yield
        self.reach(AFTER, what)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Events inside are the world's doing, or a query of it, and no point."""
        before, self._hidden = self._hidden, True
        try:
            yield
        finally:
            self._hidden = before

    def find_in(self, engine: Engine) -> None:
        """Find the points of this engine's statements and commits, and those of messages, from now on."""
        dialect: Any = engine.dialect
        for name in ("do_execute", "do_executemany", "do_execute_no_params"):
            execute = getattr(dialect, name)
            setattr(
                dialect, name, self._around_call(execute, lambda _, statement, *__, **___: _summary(statement))
            )
        dialect.do_commit = self._around_call(dialect.do_commit, lambda *_, **__: "commit")
        producer: Any = Producer
        producer.publish = self._around_call(producer.publish, _what_is_published)
        message: Any = Message
        message.ack = self._around_call(message.ack, lambda message, *_, **__: f"ack of {_task(message.headers)}")

    def _around_call(self, call: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            with self.around(lambda: name(*args, **kwargs)):
                return call(*args, **kwargs)

        return called


def _summary(statement: str) -> str:
    text = " ".join(statement.split())
    tables = list(dict.fromkeys(_TABLE.findall(text)))
    return f"{text.partition(' ')[0]} {', '.join(tables)}" if tables else text[:40]


def _what_is_published(producer: Any, body: Any, *_: Any, **options: Any) -> str:
    return f"publish of {_task(options.get('headers'))}"


def _task(headers: Any) -> str:
    return str((headers or {}).get("task"))


def _name(when: str, what: Callable[[], str]) -> str:
    """Describe a point, with agentq's outermost and innermost function on the stack, where there is one."""
    functions: list[str] = []
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGE) and not code.co_filename.startswith(_PASSED_OVER):
            name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
            functions.append(name.replace(".<locals>", "").replace(".<lambda>", ""))
        frame = frame.f_back  # type: ignore[assignment]
    where = f" ({' … '.join(dict.fromkeys((functions[-1], functions[0])))})" if functions else ""
    return f"{when} {what()}{where}"
