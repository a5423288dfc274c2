"""One decision on many dead letters: edit their arguments, give their result by hand, cancel them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments
from agentq.ledger.db.session import Ledger
from agentq.operations import many
from agentq.operations.dead_letters.decisions import ABSENT, MAX_VALUE_BYTES, cancel, edit, resolve
from agentq.operations.dead_letters.queries import DeadLetterFilter, find_all, open_letters
from agentq.operations.schemas import DeadLetter, DeadLetterSummary, Decided
from agentq.states import DeadLetterKind


def edit_all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    *,
    args: list[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    max_value_bytes: int = MAX_VALUE_BYTES,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[DeadLetterSummary]:
    """Replace the arguments of dead jobs by the same, oldest first; their letters stay open.

    Args:
        ledger: where.
        wanted: which; its status is taken to be open.
        args: the new positional arguments of each, as ``edit`` takes them. Default: as they are.
        kwargs: the new keyword arguments of each. Default: as they are.
        max_value_bytes: size limit of the arguments, in bytes of JSON.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be, and which would be refused: each is tried, and taken back.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were edited, or would be, and those that were refused: the arguments do not fit their
    steps, or another person decided first. Each is a transaction of its own. Raises InvalidArguments where
    neither is given.
    """
    if args is None and kwargs is None:
        raise InvalidArguments("neither args nor kwargs is given; give those that are to be replaced")
    how: dict[str, Any] = {"args": args, "kwargs": kwargs, "max_value_bytes": max_value_bytes}
    return _all(ledger, wanted, edit, most, dry_run, actor=actor, reason=reason, **how)


def resolve_all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    *,
    result: Any = ABSENT,
    unchecked: bool = False,
    max_value_bytes: int = MAX_VALUE_BYTES,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[DeadLetterSummary]:
    """Give dead jobs the same result by hand, oldest first; their workflows go on with it.

    Args:
        ledger: where.
        wanted: which; its status is taken to be open.
        result: the result of each step, as JSON data; left out for fan-ins with missing members.
        unchecked: take the result as it is: for steps that no code has any more.
        max_value_bytes: size limit of the result, in bytes of JSON.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be, and which would be refused: each is tried, and taken back.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were resolved, or would be, and those that were refused: the result does not fit their
    steps, or another person decided first. Each is a transaction of its own. Raises InvalidArguments.
    """
    how: dict[str, Any] = {"result": result, "unchecked": unchecked, "max_value_bytes": max_value_bytes}
    return _all(ledger, wanted, resolve, most, dry_run, actor=actor, reason=reason, **how)


def cancel_all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    *,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[DeadLetterSummary]:
    """Cancel dead jobs, and messages that no worker could take, oldest first: their dead letters are closed.

    Args:
        ledger: where.
        wanted: which; its status is taken to be open.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be, and which would be refused: each is tried, and taken back.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were closed, or would be, and those that were refused: another person decided first.
    Each is a transaction of its own. Raises InvalidArguments.
    """
    return _all(ledger, wanted, cancel, most, dry_run, kind=None, actor=actor, reason=reason)


def _all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    one: Callable[..., DeadLetter],
    most: int,
    dry_run: bool,
    *,
    kind: DeadLetterKind | None = DeadLetterKind.JOB,
    **how: Any,
) -> Decided[DeadLetterSummary]:
    plan = Decided[DeadLetterSummary](**find_all(ledger, open_letters(wanted, kind=kind), most))

    def decide(where: Ledger, letter: DeadLetterSummary, _: int) -> DeadLetter:
        return one(where, str(letter.id), **how)

    return many.rehearse(ledger, plan, decide) if dry_run else many.carry_out(plan, partial(decide, ledger))
