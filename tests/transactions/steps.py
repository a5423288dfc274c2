"""Steps that write business rows together with their completion."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import agentq
from agentq import Concurrency, Context, Policy, rule, step
from agentq.policies import Fixed
from agentq.runtime.attempt.attempt import AttemptRunner
from tests.support import gates
from tests.support.steps import add

HELD = "AGENTQ_TEST_HELD"
"""Names the folder of the gate ``recorded``, where a worker stops between an attempt's commit and its dispatch."""
SOON = Policy(otherwise=rule("retry", schedule=Fixed(0.1)), name="soon")


class Base(DeclarativeBase):
    """The business's own tables, in the ledger's database."""


class Payment(Base):
    """A row that must be there once."""

    __tablename__ = "test_payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]


def payments(connection: Session | Connection, what: str) -> int:
    """Return how often *what* was paid."""
    return connection.scalar(select(func.count()).select_from(Payment).where(Payment.what == what)) or 0


@step
def pay(ctx: Context, what: str, folder: str) -> str:
    """Pay once the gate ``written`` is open, with the payment written before it."""
    gates.note(folder, "body")

    def write(session: Session) -> None:
        session.add(Payment(what=what))
        session.flush()
        gates.pass_gate(folder, "written")

    ctx.on_complete(write)
    return what


@step
def pay_late(ctx: Context, what: str, folder: str) -> str:
    """Pay, but return only once the gate ``body`` is open."""
    ctx.on_complete(lambda session: session.add(Payment(what=what)))
    gates.pass_gate(folder, "body")
    return what


@step(retry=SOON, retries=1)
def pay_badly(ctx: Context, what: str, failures: int) -> str:
    """Pay with two callbacks, of which the second fails *failures* times."""
    ctx.on_complete(lambda session: session.add(Payment(what=what)))

    def fail(session: Session) -> None:
        assert payments(session, what) == 1, "the callbacks share one transaction"
        if ctx.attempt <= failures:
            raise LookupError(f"failure {ctx.attempt}")

    ctx.on_complete(fail)
    return what


@step(retries=0)
def pay_twice(ctx: Context, what: str) -> str:
    """Break the table's primary key."""
    ctx.on_complete(lambda session: session.add_all([Payment(id=1, what=what), Payment(id=1, what=what)]))
    return what


@step(timeout=1, hard_timeout=20, retries=0)
def pay_slowly(ctx: Context, what: str) -> str:
    """Run out of time between the payment and the commit."""

    def write(session: Session) -> None:
        session.add(Payment(what=what))
        session.flush()
        time.sleep(10)

    ctx.on_complete(write)
    return what


@step(retries=0)
def misuse(ctx: Context, how: str) -> str:
    """Do in a callback what it must not do."""
    ways: dict[str, Callable[[Session], Any]] = {
        "commit the connection": lambda session: session.connection().commit(),
        "start without the session": lambda session: agentq.start(add.s(1, 2)),
        "no such table": lambda session: session.execute(text("INSERT INTO nowhere VALUES (1)")),
    }
    ctx.on_complete(ways[how])
    return how


@step(retries=0)
def order(ctx: Context, what: str, is_refused: bool = False) -> str:
    """Start a workflow in the transaction, commit the session's own part, and fail then if it is to."""

    def write(session: Session) -> None:
        agentq.start(add.s(1, 2), key=what, session=session)
        session.commit()
        if is_refused:
            raise LookupError("no stock")

    ctx.on_complete(write)
    return what


@step(limits=[Concurrency("counted", limit=1)])
def count_one_at_a_time(value: str, folder: str, name: str) -> str:
    """Return *value* and leave a trace, as one of one."""
    gates.note(folder, name)
    return value


@step
async def pay_from_a_loop(ctx: Context, what: str) -> str:
    ctx.on_complete(lambda session: session.add(Payment(what=what)))
    return what


def _hold(folder: str) -> None:
    executor: Any = AttemptRunner
    record = executor._record

    def record_and_wait(self: Any, *args: Any) -> Any:
        recorded = record(self, *args)
        gates.pass_gate(folder, "recorded")
        return recorded

    executor._record = record_and_wait


if HELD in os.environ:
    _hold(os.environ[HELD])
