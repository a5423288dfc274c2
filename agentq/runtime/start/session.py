"""A caller's own transaction, which a start joins: where it writes, and when its messages are published."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session
from sqlalchemy.util import await_only

from agentq.exceptions import InvalidArguments
from agentq.ledger import moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from agentq.runtime.engine import Engine

    AsyncJoinable = AsyncSession | AsyncConnection

T = TypeVar("T")

Joinable = Session | scoped_session[Any] | Connection
"""The sessions and connections whose transaction a start can join."""
_WAITING = "agentq_after_commit"
"""The key under which a session keeps what follows its commit."""


class Joined:
    """The transaction of a session or connection that the caller gave.

    Raises InvalidArguments for what is neither.
    """

    def __init__(self, session: Any) -> None:
        found = session() if isinstance(session, scoped_session) else session
        if not isinstance(found, (Session, Connection)):
            raise InvalidArguments(
                f"session is a {type(session).__name__}; give SQLAlchemy's Session or Connection, or with "
                "AsyncSession or AsyncConnection call: await agentq.astart(…)"
            )
        self._session = found

    @property
    def connection(self) -> Connection:
        """The connection on which the transaction is."""
        return self._session if isinstance(self._session, Connection) else self._session.connection()

    @property
    def sees_commit(self) -> bool:
        """True if agentq sees the commit: not for a connection, nor for a session in the transaction of one."""
        return isinstance(self._session, Session) and not isinstance(self._session.get_bind(), Connection)

    def write(self, ledger: Ledger, work: Callable[[Transaction], T]) -> T:
        """Run *work* in it as *ledger* would: the jobs to dispatch are published after the commit, or never."""
        tx = Transaction(self.connection)
        done = work(tx)
        moves.change_workflows(tx)
        if ledger.publish is not None and self.sees_commit:
            ledger.follow(tx, ledger.publish, partial(self._after_commit, ledger))
        return done

    def _after_commit(self, ledger: Ledger, work: Callable[[], object]) -> None:
        assert isinstance(self._session, Session)
        if _WAITING not in self._session.info:
            self._session.info[_WAITING] = _PendingWorks(self._session)
        # Where the commit will be on an event loop, that must not wait for a broker.
        off_loop = partial(_await_in_thread, ledger, work)
        self._session.info[_WAITING].add(off_loop if self.connection.dialect.is_async else work)


class _PendingWorks:
    """The work that follows the commits of one session, kept with the transaction or savepoint in which each start
    was."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: dict[SessionTransaction | None, list[Callable[[], object]]] = {}
        event.listen(session, "after_commit", self._pass_on)
        event.listen(session, "after_transaction_end", self._forget)

    def add(self, work: Callable[[], object]) -> None:
        self._pending.setdefault(self._current(), []).append(work)

    def _pass_on(self, session: Session) -> None:
        """Give what follows a released savepoint to the transaction around it; do what follows a whole one."""
        works = self._pending.pop(self._current(), [])
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            self._pending.setdefault(savepoint.parent, []).extend(works)
            return
        for work in works:
            work()

    def _forget(self, session: Session, transaction: SessionTransaction) -> None:
        self._pending.pop(transaction, None)

    def _current(self) -> SessionTransaction | None:
        return self._session.get_nested_transaction() or self._session.get_transaction()


async def off_loop(engine: Engine, session: AsyncJoinable | None, work: Callable[[Joinable | None], T]) -> T:
    """Do *work* from an event loop without blocking it: with what *session* is made of, or else in a thread.

    Raises InvalidArguments for a session that is not asynchronous, which would block the loop.
    """
    if session is None:
        return await engine.ledger.in_thread(lambda: work(None))
    if not hasattr(session, "run_sync"):
        raise InvalidArguments(
            f"session is a {type(session).__name__}; give SQLAlchemy's AsyncSession or AsyncConnection, or with "
            "Session or Connection call: agentq.start(…)"
        )
    return await session.run_sync(work)


def _await_in_thread(ledger: Ledger, work: Callable[[], object]) -> None:
    await_only(ledger.in_thread(work))
