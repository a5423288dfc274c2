"""The argument of a running step whose parameter is annotated ``Context``."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentq.exceptions import InvalidArguments, InvalidValue
from agentq.job_log import job_log
from agentq.policies.limits import MOST_TOKENS, is_name
from agentq.redaction import show
from agentq.steps.events import PROGRESS, event_data, progress_data
from agentq.steps.limit_block import FreeSlots, LimitBlock, Slots

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class MissingMember:
    """A member of the fan-in before a step that is not among the results, with its error.

    ``position`` is its place among the members, from 0, or that of its item in the list before an ``each``;
    ``job_id`` and ``step`` name the job that failed or was cancelled, ``category`` and ``message`` say why.
    """

    position: int
    job_id: str
    step: str
    category: str
    message: str


class CancelCheck:
    """Answers whether the attempt is still wanted, asking at most once a second."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._answer = False
        self._asked_at = 0.0

    def __call__(self) -> bool:
        if not self._answer and time.monotonic() - self._asked_at >= 1.0:
            self._answer, self._asked_at = self._ask(), time.monotonic()
        return self._answer


@dataclass(frozen=True, slots=True)
class Context:
    """The attempt that a step runs in.

    Annotate any parameter of a step with it; it is filled in by the worker and is no argument.
    """

    workflow_id: str
    job_id: str
    step: str
    tenant: str
    attempt: int
    """The number of this attempt, the first is 1. It only increases: a fencing token for external systems."""
    max_attempts: int
    deadline: datetime | None
    """The time at which this attempt or its job runs out of time (UTC), or None where the step has no limit."""
    is_cancelled: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)
    """The function behind ``cancelled``."""
    find_missing: Callable[[], list[MissingMember]] = field(default=list, repr=False, compare=False)
    """The function behind ``missing``."""
    find_scheduled_for: Callable[[], datetime | None] = field(default=lambda: None, repr=False, compare=False)
    """The function behind ``scheduled_for``."""
    report: Callable[[str, str], None] = field(default=lambda kind, data: None, repr=False, compare=False)
    """The function behind ``progress`` and ``emit``, with a kind and JSON text."""
    note_used: Callable[[int | Mapping[str, int]], None] = field(
        default=lambda tokens: None, repr=False, compare=False
    )
    """The function behind ``used``."""
    slots: Slots = field(default_factory=FreeSlots, repr=False, compare=False)
    """The slots that ``limit`` takes."""
    callbacks: list[Callable[[Session], object]] = field(default_factory=list, repr=False, compare=False)
    """The functions that ``on_complete`` was given."""
    logger: logging.LoggerAdapter[logging.Logger] = field(init=False, repr=False, compare=False)
    """A logger bound to the ids above; its name is ``agentq.step.<name>``."""

    def __post_init__(self) -> None:
        logger = logging.getLogger(f"agentq.step.{self.step}")
        ids = {"workflow_id": self.workflow_id, "tenant": self.tenant}
        bound = job_log(logger, self.step, self.job_id, self.attempt, **ids)
        object.__setattr__(self, "logger", bound)

    def on_complete(self, callback: Callable[[Session], object]) -> None:
        """Write to the ledger's database in the very transaction that records this step's completion.

        So what is written is there exactly once, together with the outcome, whatever dies. *callback* is called
        after the step returned, with a SQLAlchemy session; agentq commits. It may be called again where the
        transaction must be run again, and then nothing is left of the call before. Where the attempt fails it is
        not called; where the job was lost to another worker its writes are undone with the outcome; what it
        raises is as if the step had raised it. Several are called in their order. Keep it short: locks are held.

        Raises InvalidArguments for what is no plain function.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise InvalidArguments(f"on_complete({callback!r}): give a plain function that takes a session")
        self.callbacks.append(callback)

    @property
    def cancelled(self) -> bool:
        """True if the outcome is not wanted: the job was cancelled, is past its deadline, or has another worker.

        A long step checks it now and then and ends early; it asks the ledger at most once a second.
        """
        return self.is_cancelled()

    @property
    def missing(self) -> list[MissingMember]:
        """The members of the fan-in before this step that are not in its results, in order; each access asks."""
        return self.find_missing()

    @property
    def scheduled_for(self) -> datetime | None:
        """The tick of the schedule that started the workflow (UTC), or None; each access asks."""
        return self.find_scheduled_for()

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report the step's progress to the followers of the workflow; costs the step next to nothing.

        It is written behind the step's back, at most twice a second, the last one always; only the newest is kept.
        Where the ledger is away it is dropped. The same in ``def`` and ``async def`` steps.

        Args:
            done: how much is done, from 0 up, in whatever unit.
            total: how much there is to do, in the same unit; None where that is not known.
            message: a line for people, of which 200 characters are kept.

        Raises InvalidValue for a number that is negative, infinite or none at all.
        """
        self.report(PROGRESS, progress_data(done, total, message))

    def emit(self, kind: str, data: Any = None) -> None:
        """Report an event of the step's own, as ``progress`` does; each is kept, 1,000 of one attempt.

        Args:
            kind: a word of small letters, digits, ``-`` and ``_``, such as ``draft``.
            data: JSON data, Pydantic models, dataclasses and the like, up to 4 KB. Everyone who may see the
                workflow's events sees it.

        Raises InvalidValue for a kind that cannot be used or data that is not JSON, ValueTooLarge over the limit.
        """
        self.report(kind, event_data(kind, data))

    def used(self, *, tokens: int | Mapping[str, int]) -> None:
        """Say how many tokens this attempt has used, for its ``Tokens`` limits; the last word counts.

        Its limits then count these in place of the estimate, whatever becomes of the attempt: what it has used is
        used. Where an attempt says nothing, or its worker dies, the estimate counts. A step without such a limit
        may say it too.

        Args:
            tokens: the tokens since the attempt began; or, where its limits count different ones, such as those of
                input and output, numbers by the names of the limits: ``{"input": 900, "output": 120}``.

        Raises InvalidValue for what is no whole number from 0, or a name that is none of its limits.
        """
        numbers = list(tokens.values()) if isinstance(tokens, Mapping) else [tokens]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidValue(f"used(tokens={show(tokens)}): must be a whole number of tokens, 0 or more")
        self.note_used(tokens)

    def limit(self, name: str, *, wait: float = 5.0, tokens: int | None = None) -> LimitBlock:
        """Hold a slot of a limit for a block of the step: ``with ctx.limit("search"):`` or ``async with``.

        For a call that few may make at once, while the rest of the step needs no slot. The block takes a slot as
        soon as one is free, and looks for one after 50 ms, then less often, up to once a second. Jobs in the line
        of the limit do not come before it. Its end gives the slot back, and so does the end of the attempt,
        whatever it is. A job that has the limit itself holds a slot already, which serves one block at a time.

        Where the limit has a rate or tokens, the block pays for a start of its own, and begins when that is due.
        It reserves *tokens*; ``with ctx.limit(…) as call:`` and ``call.used(tokens=…)`` say what it has used.

        It holds its worker while it waits. Where LimitReached leaves the step, no attempt is burned: the job
        stands in the line of the limit, and its next attempt begins with a slot of it.

        Args:
            name: the limit, with its key: ``search``, ``search:news``. It is one of a step's ``limits``, or of
                ``AgentQ(limits=…, call_limits=…)``, or any that jobs have used.
            wait: seconds to wait for a slot, and for the time of the start; 0 to look once.
            tokens: the tokens that the block is expected to use, where the limit counts them. Default: the
                estimate of its ``Tokens`` in ``call_limits``.

        Raises LimitReached after that time, or at once where its start is due later; InvalidArguments for a limit
        that does not exist or is divided by a key that *name* lacks, and for one that counts tokens, without
        a number of them; StateConflict where the attempt is over, so that its outcome is not wanted.
        """
        if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < 1e9:
            raise InvalidArguments(f"limit({show(name)}, wait={show(wait)}): wait must be seconds from 0 up")
        if not is_name(name):
            raise InvalidArguments(
                f"limit({show(name)}): give the name of a limit, such as 'search' or 'search:news'"
            )
        if tokens is not None and (
            isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= MOST_TOKENS
        ):
            raise InvalidArguments(
                f"limit({show(name)}, tokens={show(tokens)}): tokens must be a whole number to {MOST_TOKENS}"
            )
        return LimitBlock(self.slots, name, wait, tokens)

    @property
    def idempotency_key(self) -> str:
        """The same text on every attempt of this job: give it to providers that drop repeated requests."""
        return f"agentq-{self.job_id}"
