"""A canvas case, and the few shapes that many of them are made of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from celery import chain, chord, group
from celery.canvas import Signature

Ending = Literal["finishes", "refused", "raises", "hangs", "odd"]


@dataclass(frozen=True)
class Case:
    """One canvas.

    ``build`` gets a namespace with one task per function. ``bare`` says how bare Celery ends it and
    ``why``; ``odd`` means it ends, but with a result that is a race or against Celery's own manual.
    """

    name: str
    build: Callable[[Any], Any]
    bare: Ending = "finishes"
    why: str = ""


def values(t: Any, *names: Any) -> list[Any]:
    """Tasks that return their names and accept nothing from upstream."""
    return [t.identity.s(name) for name in names]


def tails(t: Any, *names: Any) -> list[Any]:
    """Tasks that put what they are given before their names."""
    return [t.concat.s(name) for name in names]


def pairs(t: Any, *names: str) -> list[Any]:
    """Groups of tails, one per word, one member per letter."""
    return [group(tails(t, *word)) for word in names]


def with_group(t: Any) -> list[Any]:
    """Members of which the middle one is a group."""
    return [t.concat.s("a"), group(tails(t, "b", "c")), t.concat.s("d")]


def up_pair(t: Any) -> Any:
    """A chain that ends in a group."""
    return t.identity.s("up") | group(tails(t, "a", "b"))


def ab_chord(t: Any, body: Any) -> Any:
    return chord(values(t, "a", "b"), body)


def echo_chord(t: Any) -> Any:
    return chord([t.echo.s("a"), t.echo.s("b")], t.echo.s())


def diamond(t: Any, name: str) -> Any:
    return chain(t.identity.s(name), group(tails(t, "a", "b")), t.concat.s("end"))


def deep(t: Any, levels: int) -> Any:
    """A chain around a group around a chain …, ``levels`` times."""
    if not levels:
        return t.concat.s("core")
    return chain(t.concat.s(levels), group(deep(t, levels - 1), t.concat.s("side")), t.concat.s("in"))


def in_place(first: Any, *others: Any) -> Any:
    for other in others:
        first |= other
    return first


def rebuilt(t: Any, canvas: Any) -> Any:
    """The canvas after a journey through JSON."""
    return Signature.from_dict(json.loads(json.dumps(canvas)), app=t.add.app)
