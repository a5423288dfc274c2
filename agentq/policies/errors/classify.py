"""The facts of an error: its category and the provider's answer, as plain data. Imports no provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from agentq.outcomes import LONGEST_MESSAGE
from agentq.policies.errors import tables
from agentq.policies.errors.categories import NEVER_RETRIED, Category
from agentq.policies.errors.retry_after import retry_after
from agentq.policies.errors.signs import ExceptionView, view_of
from agentq.policies.errors.untrusted import causes_of, class_name, is_a, members_of, safely
from agentq.redaction import clean

_LONGEST_NAME = 255
_MOST_NAMES = 60


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """An error as plain data, for rules to match on and for the ledger to keep.

    Attributes:
        category: what kind of failure it was.
        error_class: the qualified name of the class that was raised.
        message: its text, cleaned and bounded.
        names: the qualified names of all its classes, and of those of the cause that gave the category.
        provider: who answered, or the library that failed to get an answer.
        status: the HTTP status.
        code: the provider's own word for it, and ``codes`` all of them, the most precise first.
        request_id: the provider's name of the request.
        retry_after: seconds after which the provider wants to be asked again.
    """

    category: Category
    error_class: str = ""
    message: str = ""
    names: tuple[str, ...] = ()
    provider: str | None = None
    status: int | None = None
    code: str | None = None
    codes: tuple[str, ...] = ()
    request_id: str | None = None
    retry_after: float | None = None


def describe(error: BaseException, *, now: float | None = None) -> ErrorFacts:
    """Classify an exception.

    Facts that the exception itself lacks are looked for in its cause, and in the members of an
    exception group.

    Args:
        error: any exception.
        now: the wall clock in seconds, for times of day that a provider sent. Default: this machine's.
    """
    as_of = time.time() if now is None else now
    unknown = ErrorFacts(Category.ERROR, error_class=safely("?", class_name, type(error)))
    return safely(unknown, _describe, error, as_of)


def _describe(error: BaseException, now: float) -> ErrorFacts:
    facts, sure = _facts_alone(error, now)
    for cause in causes_of(error)[1:]:
        if sure and facts.status is not None:
            break
        other, known = _facts_alone(cause, now)
        facts, sure = _joined(facts, other, take_category=known and not sure), sure or known
    if not sure and is_a(error, BaseExceptionGroup):
        return _of_group(error, facts, now)
    return facts


def _facts_alone(error: BaseException, now: float) -> tuple[ErrorFacts, bool]:
    """Return the facts of one exception alone, and whether it gave its category."""
    view = view_of(error)
    category = classify(view)
    facts = ErrorFacts(
        category=category or Category.ERROR,
        error_class=clean(view.names[0], _LONGEST_NAME),
        message=clean(view.message or view.names[0], LONGEST_MESSAGE),
        names=tuple(clean(name, _LONGEST_NAME) for name in view.names),
        provider=_provider(view),
        status=view.status,
        code=_short(_decisive_code(view, category)),
        codes=tuple(clean(code, 100) for code in view.codes[:20]),
        request_id=_short(view.request_id),
        retry_after=retry_after(view, category, now),
    )
    return facts, category is not None


def _joined(facts: ErrorFacts, cause: ErrorFacts, *, take_category: bool) -> ErrorFacts:
    """Return the facts of an exception with those that only its cause has."""
    return replace(
        facts,
        category=cause.category if take_category else facts.category,
        names=tuple(dict.fromkeys(facts.names + cause.names))[:_MOST_NAMES] if take_category else facts.names,
        provider=_nearer(facts.provider, cause.provider),
        status=cause.status if facts.status is None else facts.status,
        code=facts.code or cause.code,
        codes=facts.codes or cause.codes,
        request_id=facts.request_id or cause.request_id,
        retry_after=cause.retry_after if facts.retry_after is None else facts.retry_after,
    )


def _of_group(error: BaseException, facts: ErrorFacts, now: float) -> ErrorFacts:
    """Several failed at once: what can never come right decides, else who wants the longest pause.

    Where each is another way to the same answer (models to fall back to), one that may come right decides.
    """
    members = [_describe(member, now) for member in members_of(error)]
    if not members:
        return facts
    alternatives = facts.error_class.endswith("FallbackExceptionGroup")
    decisive = max(members, key=lambda member: _gravity(member, final=not alternatives))
    texts = "; ".join(f"{member.error_class}: {member.message[:200]}" for member in members[:5])
    joined = _joined(facts, decisive, take_category=True)
    return replace(joined, message=clean(f"{facts.message}: {texts}", LONGEST_MESSAGE))


def _gravity(facts: ErrorFacts, *, final: bool) -> tuple[bool, bool, float]:
    known = facts.category is not Category.ERROR
    return (facts.category in NEVER_RETRIED) is final, known, facts.retry_after or 0.0


def classify(view: ExceptionView) -> Category | None:
    """Return the category of one exception, None for an unknown one; see ``tables`` for the order."""
    codes = [code.lower() for code in view.codes]
    queries: tuple[Callable[[], Category | None], ...] = (
        lambda: _by_phrase(view),
        lambda: _by_code(codes),
        lambda: _by_name(view.names, tables.PRECISE_NAMES, timeouts=True),
        lambda: _first(tables.GENERAL_CODES.get(code) for code in codes),
        lambda: None if view.status is None else tables.of_status(view.status),
        lambda: _by_name(view.names, tables.GENERAL_NAMES, timeouts=False),
    )
    return _first(query() for query in queries)


def _first(found: Iterable[Category | None]) -> Category | None:
    return next((category for category in found if category is not None), None)


def _by_phrase(view: ExceptionView) -> Category | None:
    phrases = tables.PHRASES.get(view.status or 0, ())
    return _first(category for phrase, category in phrases if phrase in view.text)


def _by_code(codes: list[str]) -> Category | None:
    patterns = (means for code in codes for pattern, means in tables.CODE_PATTERNS if pattern.search(code))
    return _first(patterns) or _first(tables.PRECISE_CODES.get(code) for code in codes)


def _by_name(names: tuple[str, ...], table: dict[str, Category], *, timeouts: bool) -> Category | None:
    for name in names:
        bare = name.rpartition(".")[2]
        found = table.get(name) or table.get(bare)
        if found is None and timeouts and bare.endswith(tables.TIMEOUT_ENDS):
            found = Category.TIMEOUT
        if found is not None:
            return found
    return None


def _decisive_code(view: ExceptionView, category: Category | None) -> str | None:
    """Return the code that decides the category, or else the most precise one."""
    decisive = (code for code in view.codes if category is not None and _by_code([code.lower()]) is category)
    return next(decisive, view.codes[0] if view.codes else None)


def _provider(view: ExceptionView) -> str | None:
    roots = {name.partition(".")[0] for name in view.names if "." in name}
    found = next((provider for root, provider in tables.PROVIDERS.items() if root in roots), None)
    return _short(view.vendor) if found == "litellm" and view.vendor else found


def _nearer(outer: str | None, inner: str | None) -> str | None:
    """Return who answered: the library that wrapped an error says less than the error that it wrapped."""
    wrappers = ("pydantic-ai", "langchain", "litellm", None)
    return inner if outer in wrappers and inner is not None else outer


def _short(text: str | None) -> str | None:
    return clean(text, 100) if text else None
