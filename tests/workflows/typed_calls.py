"""A user's file, for mypy alone: each line that is wrong ends with the code of the error that it must be."""

from __future__ import annotations

from typing import assert_type

import agentq
from agentq import Context, Workflow, each, step


@step
def find(folder: str, most: int = 3) -> list[str]:
    return [folder] * most


@step(retries=5, queue="llm")
def summarise(ctx: Context, text: str, *, words: int = 10) -> str:
    return text[:words]


@step
async def fetch(url: str) -> bytes:
    return url.encode()


@step(timeout=5)
async def ask(ctx: Context, prompt: str) -> str:
    return prompt


@step
def add(number: int, other: int) -> float:
    return number + other


@step
def tick() -> None: ...


def signatures() -> None:
    add.s(1, 2)
    add.s(1)  # the other number is what the step before gives
    add.s(other=2)
    add.s()  # wrong: call-overload
    add.s(1, 2, 3)  # wrong: call-overload
    add.s("1", 2)  # wrong: call-overload
    add.s("1")  # wrong: call-overload
    add.s(1, oher=2)  # wrong: call-overload
    add.si(1, 2)
    add.si(1)  # wrong: call-arg
    add.si(1, "2")  # wrong: arg-type
    find.s("docs", most=4)
    find.s(most="4")  # wrong: call-overload
    summarise.s()
    summarise.s("text", words=3)
    summarise.s(words=3)
    summarise.s(words="3")  # wrong: call-overload
    ask.s("why?")
    ask.s(1)  # wrong: call-overload
    tick.s()
    tick.s(1)  # wrong: call-overload


def calls() -> None:
    assert_type(add(1, 2), float)
    add(1, "2")  # wrong: arg-type
    assert_type(add.delay(1, 2), Workflow[float])
    add.delay(1)  # wrong: call-arg
    add.delay("1", 2)  # wrong: arg-type
    assert_type(summarise.delay("text", words=3), Workflow[str])
    summarise.delay(3)  # wrong: arg-type
    assert_type(fetch.delay("https://example.org").result(timeout=5), bytes)
    assert_type(ask.delay("why?"), Workflow[str])


async def awaited(ctx: Context) -> None:
    assert_type(summarise(ctx, "text"), str)
    assert_type(await fetch("https://example.org"), bytes)
    assert_type(await ask(ctx, "why?"), str)
    await ask("why?")  # wrong: call-arg, arg-type


def started() -> None:
    agentq.start(find.s("docs") | each(summarise.s()), tenant="acme", deadline=60)
    agentq.start(add.s(1, 2), tenan="acme")  # wrong: call-arg
    agentq.start(add.s(1, 2), deadline="soon")  # wrong: arg-type
    agentq.strat(add.s(1, 2))  # wrong: attr-defined


@step(retires=5)  # wrong: call-overload, untyped-decorator
def misspelt() -> None: ...


@step(timeout="5")  # wrong: call-overload, untyped-decorator
def mistyped() -> None: ...
