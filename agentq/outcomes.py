"""The outcomes of an attempt, as frozen values. Errors become outcomes in one place: ``attempt.after_failure``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST_REASON, LONGEST_MESSAGE = 255, 4_000
"""Characters that are kept of why a job is tried again, and of an error's text."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as plain, storable data: what a provider's exception leaves behind. All texts clean and bounded.

    ``category`` is a word for machines, ``error_class`` the qualified class name, ``message`` the text,
    ``traceback`` the stack without local variables; the rest is what the provider said.
    """

    category: str
    error_class: str
    message: str
    traceback: str = ""
    provider: str | None = None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Succeed:
    """The step returned; ``result`` is its result as JSON text.

    ``on_complete`` is called in the transaction that records it.
    """

    result: str
    on_complete: tuple[Callable[[Session], object], ...] = ()


@dataclass(frozen=True, slots=True)
class Cool:
    """A refusal by a provider that closes limits of the job for a while.

    ``limits`` are their names, with their keys. ``seconds`` is how long, as the provider said; None where it did
    not. ``reason`` says why, for people: ``429``.
    """

    limits: tuple[str, ...]
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The step failed and is tried again after ``delay`` seconds.

    ``reason`` says why then, for people. Without ``burns_attempt`` it is a deferral: the attempt does not count.
    ``is_asked`` where the step itself named the delay, which then does not count as a pause of the policy's.
    ``attempts`` is how many the job may have at least, where its own code says so.
    ``cool`` closes limits of the job; a deferral then waits in the line of the first, not for its delay.
    With ``needs_slot_of``, the name of a limit, it stands in the line of that limit rather than for a time; its
    next attempt is expected to use ``needs_tokens`` of it.
    """

    failure: Failure
    delay: float
    reason: str = ""
    burns_attempt: bool = True
    is_asked: bool = False
    attempts: int | None = None
    cool: Cool | None = None
    needs_slot_of: str | None = None
    needs_tokens: int = 0

    @property
    def in_line_of(self) -> str | None:
        """The limit whose line says when the job goes on; None where its delay does."""
        return None if self.cool is None or self.burns_attempt else self.cool.limits[0]


@dataclass(frozen=True, slots=True)
class Fail:
    """The step failed and is not tried again, because of ``reason``.

    With ``needs_person``, a person is to decide what then. Where it ``is_late``, the job's deadline ended it: that
    is the category of its dead letter, while the attempt keeps that of its error. ``cool`` closes limits of the
    job.
    """

    failure: Failure
    reason: str = ""
    needs_person: bool = False
    is_late: bool = False
    cool: Cool | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The step itself says that its job is not wanted any more; ``reason`` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """This worker's code cannot run the job, so it is left for another worker, from ``delay`` seconds on.

    That costs it nothing. ``reason`` says what it waits for, for people. Without a delay there is a live worker
    that can run it: this one's main process sends it there, and ``takes`` says for which parameters it is.
    """

    failure: Failure
    delay: float
    reason: str
    takes: str = ""


Outcome = Succeed | RetryLater | Fail | Cancelled | Leave
