"""What an attempt can end in, as frozen values. Judged in one place: ``policies.retry.judge``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as plain, storable data: what a provider's exception leaves behind.

    ``category`` is a word for machines, ``error_class`` the qualified class name, ``message`` the cleaned and
    bounded text, ``traceback`` the cleaned and bounded stack without local variables.
    """

    category: str
    error_class: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Succeed:
    """The step returned; ``result`` is its result as JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The step failed and is tried again after ``delay`` seconds."""

    failure: Failure
    delay: float


@dataclass(frozen=True, slots=True)
class Fail:
    """The step failed and is not tried again."""

    failure: Failure


Outcome = Succeed | RetryLater | Fail
