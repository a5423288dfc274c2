"""Steps and tasks that fail in all the ways that a policy distinguishes; a worker imports them with ``-I``."""

from __future__ import annotations

import urllib.request
from typing import Any

import openai
from celery import shared_task
from celery.exceptions import Ignore, Reject

from agentq import Cancel, Context, DeadLetterNow, Retry, rule, step
from agentq.policies import Fixed
from tests.support import gates

SECRET = "sk-proj-0123456789abcdefghij"
SOON = Fixed(0.01)


class Unspeakable(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class UnspeakableCancel(Cancel):
    __str__ = Unspeakable.__str__


class UnspeakableRetry(Retry):
    __str__ = Unspeakable.__str__


class Unpicklable(ConnectionError):
    """As the errors of providers' clients are: Celery's own Retry carries a parent class of it."""

    def __init__(self, message: str, line: str) -> None:
        super().__init__(f"{message} ({line})")


class Empty(ConnectionError):
    """An error that is false where it is asked."""

    def __bool__(self) -> bool:
        raise RuntimeError("ask something else")


TEXTS: dict[str, str] = {
    "NUL": "nothing\x00at all",
    "surrogate": "half a \ud800 pair",
    "50 MB": "x" * 50_000_000,
    "secret": f"the key {SECRET} was refused",
}


@step
def ask(ctx: Context, urls: list[str]) -> list[int]:
    """Ask one server after the other, one an attempt; return what the context says."""
    url = urls[min(ctx.attempt, len(urls)) - 1]
    urllib.request.urlopen(url, timeout=20).close()
    return [ctx.attempt, ctx.max_attempts]


@step(retry=[rule("ask", status=402)])
def pay(url: str) -> None:
    urllib.request.urlopen(url, timeout=20).close()


@step(retry="none")
def complete(url: str, patient: str) -> None:
    """Ask a model about a person whose name is a secret."""
    with openai.OpenAI(base_url=url, api_key=SECRET, max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": patient}])


@step
def again_after(ctx: Context, seconds: float) -> int:
    """Ask to be tried again, once."""
    if ctx.attempt == 1:
        raise Retry("not yet", after=seconds)
    return ctx.attempt


@step
def again_behind(ctx: Context, folder: str) -> int:
    """Ask to be tried again, once the gate is open."""
    if ctx.attempt == 1:
        gates.pass_gate(folder, "gate")
        raise Retry(after=0.1)
    return ctx.attempt


@step(retry=[rule("retry", category="connection", schedule=SOON)])
def again_from(ctx: Context, empty: bool = False) -> int:
    if ctx.attempt == 1:
        raise Retry("try the other line") from (Empty("engaged") if empty else ConnectionError("engaged"))
    return ctx.attempt


@step(retries=1)
def again_and_again() -> None:
    raise Retry(after=0)


@step
def dead_letter(why: str, url: str | None = None) -> None:
    try:
        if url is not None:
            urllib.request.urlopen(url, timeout=20).close()
    except OSError as error:
        raise DeadLetterNow(why) from error
    raise DeadLetterNow(why)


@step
def cancel_itself(why: str) -> None:
    raise Cancel(why)


@step
def engaged(ctx: Context, failures: int) -> int:
    if ctx.attempt <= failures:
        raise ConnectionError("engaged")
    return ctx.attempt


@step(retry="none")
def say(text: str) -> None:
    raise ValueError(TEXTS[text])


@step(retries=1)
def say_and_ask_again(text: str) -> None:
    raise Retry(TEXTS[text], after=0) from OSError(TEXTS[text])


@step(retries=0)
def say_nothing(how: str) -> None:
    raise {"error": Unspeakable, "cancel": UnspeakableCancel, "retry": UnspeakableRetry}[how]()


@step
def celery_retry(folder: str, countdown: float | str) -> int:
    """A step that asks Celery for another attempt, once; returns how often it ran."""
    runs = gates.note(folder, "retry")
    if runs == 1:
        raise celery_retry.retry(exc=Unpicklable("engaged", "line 2"), countdown=countdown)
    return runs


@shared_task(bind=True, name="tests.plain_retry", max_retries=None)  # type: ignore[untyped-decorator]
def plain_retry(self: Any, folder: str, countdown: float) -> int:
    """A plain task that does the same."""
    runs = gates.note(folder, "retry")
    if runs == 1:
        raise self.retry(exc=ConnectionError("engaged"), countdown=countdown)
    return runs


@shared_task(name="tests.celery_ignore")  # type: ignore[untyped-decorator]
def celery_ignore() -> None:
    raise Ignore


@shared_task(name="tests.celery_reject")  # type: ignore[untyped-decorator]
def celery_reject(folder: str, requeue: bool) -> int:
    """A plain task that rejects its message, once; returns how often it ran."""
    runs = gates.note(folder, f"reject-{requeue}")
    if runs == 1:
        raise Reject("not here", requeue=requeue)
    return runs
