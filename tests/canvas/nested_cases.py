"""Chords, shapes within shapes, shapes with nothing in them, and what comes back from JSON."""

from typing import Any

from celery import chain, chord, group

from .flat_cases import PER_MEMBER
from .shapes import (
    Case,
    ab_chord,
    deep,
    diamond,
    echo_chord,
    pairs,
    rebuilt,
    tails,
    up_pair,
    values,
    with_group,
)

REVERSED = "Celery reverses the members of a group that is nested in a frozen group"
FAILS = "a task of it fails"
ARGUMENTS = "a task is called with arguments that it does not take"
CHUNKS = "inside a chain, chunks return the ids of the tasks they started"


def _slow_pair(t: Any) -> Any:
    return t.identity.s("up") | group(t.slow.s() | t.concat.s("a"), t.concat.s("b"))


CHORDS = [
    Case("chord", lambda t: chord([t.add.s(1, 2), t.add.s(3, 4)], t.total.s())),
    Case("chord-called-with-body", lambda t: chord(values(t, "a", "b"), body=t.echo.s())),
    Case("chord-of-group", lambda t: chord(group(values(t, "a", "b")), t.echo.s())),
    Case("chord-of-tuple", lambda t: chord(tuple(values(t, "a", "b")), t.echo.s())),
    Case("chord-of-generator", lambda t: chord((t.double.s(n) for n in range(3)), t.echo.s())),
    Case("chord-of-chain-is-parallel", lambda t: chord(chain(values(t, "a", "b")), t.echo.s())),
    Case("chord-header-member-chain", lambda t: chord([t.identity.s("a") | t.concat.s("b")], t.echo.s())),
    Case("chord-of-one", lambda t: chord([t.double.s(3)], t.echo.s())),
    Case("chord-of-one-task", lambda t: chord(t.double.s(3), t.echo.s())),
    Case("chord-of-one-after-task", lambda t: t.add.s(1, 1) | chord([t.double.s()], t.echo.s())),
    Case("chord-after-task", lambda t: t.identity.s("up") | chord(tails(t, "a", "b"), t.echo.s())),
    Case("chord-then-task", lambda t: chord(values(t, "a", "b"), t.concat.s("c")) | t.echo.s()),
    Case("chord-then-task-by-call", lambda t: chain(chord(values(t, "a", "b"), t.concat.s("c")), t.echo.s())),
    Case("chord-then-chain", lambda t: chord(values(t, "a", "b"), t.concat.s("i")) | chain(tails(t, "c", "d"))),
    Case("chord-then-group", lambda t: chord(values(t, "a", "b"), t.concat.s("i")) | group(tails(t, "c", "d"))),
    Case(
        "chord-then-group-by-call",
        lambda t: chain(chord(values(t, "a", "b"), t.identity.s()), *pairs(t, "cd")),
    ),
    Case("chord-then-group-of-one", lambda t: chord(values(t, "a", "b"), t.identity.s()) | group(t.echo.s())),
    Case(
        "chord-then-group-then-task",
        lambda t: ab_chord(t, t.identity.s()) | group(tails(t, "c", "d")) | t.echo.s(),
    ),
    Case("chord-then-chord", lambda t: ab_chord(t, t.concat.s("i")) | chord(tails(t, "c", "d"), t.echo.s())),
    Case(
        "chord-then-chord-by-call",
        lambda t: chain(ab_chord(t, t.concat.s("i")), chord(tails(t, "c"), t.echo.s())),
    ),
    Case("group-then-chord", lambda t: group(values(t, "a", "b")) | chord(tails(t, "c", "d"), t.echo.s())),
    Case(
        "task-group-chord",
        lambda t: chain(t.identity.s("x"), *pairs(t, "ab"), chord(tails(t, "c", "d"), t.echo.s())),
    ),
    Case("chord-body-own-arguments", lambda t: ab_chord(t, t.echo.s("own", key=1))),
    Case("chord-body-immutable", lambda t: ab_chord(t, t.echo.si("only"))),
    Case("chord-body-chain", lambda t: ab_chord(t, chain(tails(t, "c", "d")))),
    Case("chord-body-chain-immutable-first", lambda t: ab_chord(t, t.echo.si("only") | t.echo.s())),
    Case("chord-body-group", lambda t: ab_chord(t, group(tails(t, "c", "d")))),
    Case("chord-body-group-immutable-member", lambda t: ab_chord(t, group(t.echo.si("only"), t.echo.s()))),
    Case("chord-body-group-of-one", lambda t: ab_chord(t, group(t.echo.s()))),
    Case(
        "chord-body-chain-of-group-and-task",
        lambda t: ab_chord(t, chain(group(tails(t, "c", "d")), t.echo.s())),
    ),
    Case("chord-body-chain-to-group", lambda t: ab_chord(t, chain(t.identity.s(), group(tails(t, "c", "d"))))),
    Case("chord-body-chord", lambda t: ab_chord(t, chord(tails(t, "c", "d"), t.echo.s()))),
    Case("chord-body-group-then-task", lambda t: ab_chord(t, group(tails(t, "c", "d"))) | t.echo.s()),
    Case("chord-slow-header", lambda t: chord([t.slow.s("a", 0.3), t.identity.s("b")], t.echo.s())),
    Case("chord-set-immutable-header", lambda t: t.identity.s("up") | echo_chord(t).set(immutable=True)),
    Case("chord-clone", lambda t: ab_chord(t, t.echo.s()).clone()),
    Case("chord-clone-prepends-to-header", lambda t: t.identity.s("up") | echo_chord(t).clone((1,))),
    Case("chord-in-header", lambda t: chord([ab_chord(t, t.concat.s("i")), t.identity.s("x")], t.echo.s())),
    Case(
        "chord-in-chain-in-header",
        lambda t: chord([t.identity.s("up") | chord(tails(t, "a", "b"), t.concat.s("i"))], t.echo.s()),
    ),
    Case(
        "chord-with-group-body-in-header",
        lambda t: chord([ab_chord(t, group(tails(t, "c", "d")))], t.echo.s()),
    ),
    Case("chord-in-group", lambda t: group(ab_chord(t, t.echo.s()), t.identity.s("x"))),
    Case("chord-without-body", lambda t: chord(values(t, "a", "b")), "refused", "a chord needs a body"),
    Case(
        "chord-with-group-body-then-chain",
        lambda t: ab_chord(t, group(tails(t, "c", "d"))) | chain(tails(t, "e", "f")),
        "odd",
        PER_MEMBER,
    ),
]

NESTS = [
    Case(
        "nest-group-in-group",
        lambda t: group(t.identity.s("a"), group(values(t, "b", "c")), t.identity.s("d")),
    ),
    Case("nest-groups-three-deep", lambda t: group([t.identity.s("a"), group([group(values(t, "b", "c"))])])),
    Case("nest-group-of-one-in-header", lambda t: chord([group(values(t, "a")), t.identity.s("y")], t.echo.s())),
    Case("nest-group-in-header", lambda t: chord(with_group(t), t.echo.s()), "odd", REVERSED),
    Case("nest-group-in-fan-in", lambda t: group(with_group(t)) | t.echo.s(), "odd", REVERSED),
    Case("nest-group-in-last-group", lambda t: t.identity.s("up") | group(with_group(t)), "odd", REVERSED),
    Case("nest-group-in-body-group", lambda t: ab_chord(t, group(with_group(t))), "odd", REVERSED),
    Case(
        "nest-member-ends-in-group",
        lambda t: group(t.identity.s("x"), t.identity.s("y") | group(tails(t, "a", "b"))),
    ),
    Case("nest-only-member-ends-in-group", lambda t: group([t.identity.s("y") | group(tails(t, "a", "b"))])),
    Case("nest-only-member-chord-to-group", lambda t: group([ab_chord(t, group(tails(t, "c", "d")))])),
    Case("nest-only-member-ends-in-group-fan-in", lambda t: group([up_pair(t)]) | t.echo.s()),
    Case("nest-header-member-ends-in-group", lambda t: chord([up_pair(t), t.identity.s("x")], t.echo.s())),
    Case(
        "nest-header-member-ends-in-slow-group",
        lambda t: group(_slow_pair(t), t.identity.s("c")) | t.echo.s(),
    ),
    Case(
        "nest-chain-of-one-group-in-group",
        lambda t: group([chain(group(values(t, "a", "b"))), t.identity.s("y")]),
    ),
    Case("nest-group-member-starts-with-group", lambda t: group([group(values(t, "a", "b")) | t.echo.s()])),
    Case("nest-header-member-group-then-group", lambda t: chord([chain(*pairs(t, "ab", "cd"))], t.echo.s())),
    Case(
        "nest-chain-group-chain",
        lambda t: chain(t.identity.s("x"), chain(t.concat.s("y"), *pairs(t, "ab")), t.echo.s()),
    ),
    Case("nest-diamond-in-group", lambda t: group(diamond(t, "l"), diamond(t, "r"))),
    Case("nest-diamonds-fan-in", lambda t: group(diamond(t, "l"), diamond(t, "r")) | t.echo.s()),
    Case("nest-diamond-as-body", lambda t: ab_chord(t, chain(t.concat.s("in"), *pairs(t, "cd"), t.echo.s()))),
    Case("nest-five-deep", lambda t: deep(t, 5)),
    Case("nest-five-deep-in-groups", lambda t: group(deep(t, 3), deep(t, 5))),
]

EMPTY = [
    Case("empty-group", lambda t: group()),
    Case("empty-group-in-group", lambda t: group([group([])])),
    Case("empty-group-in-chain", lambda t: chain(group([]))),
    Case("empty-group-last-by-bar", lambda t: t.add.s(1, 2) | group([])),
    Case("empty-group-last-by-call", lambda t: chain(t.add.s(1, 2), group([]))),
    Case("empty-group-after-chain", lambda t: t.add.s(1, 2) | t.double.s() | group([])),
    Case("empty-group-after-chord", lambda t: ab_chord(t, t.echo.s()) | group([])),
    Case("empty-group-after-group", lambda t: group(values(t, "a", "b")) | group([]) | t.echo.s()),
    Case("empty-group-first-by-bar", lambda t: group([]) | t.echo.s()),
    Case("empty-group-first-by-call", lambda t: chain(group([]), t.echo.s(1))),
    Case("empty-group-first-bar-group", lambda t: group([]) | group(tails(t, "a", "b"))),
    Case("empty-group-between-by-bar", lambda t: t.add.s(1, 2) | group([]) | t.echo.s()),
    Case("empty-group-between-by-call", lambda t: chain(t.add.s(1, 2), group([]), t.echo.s())),
    Case("empty-group-before-group", lambda t: t.identity.s("x") | group([]) | group(tails(t, "a", "b"))),
    Case("empty-group-as-member", lambda t: group([t.identity.s("a"), group([]), t.identity.s("b")])),
    Case("empty-group-as-header-member", lambda t: group([t.identity.s("a"), group([])]) | t.echo.s()),
    Case("empty-groups-in-last-group", lambda t: t.add.s(1, 1) | group([group([]), group([])])),
    Case("empty-member-chain", lambda t: group([t.identity.s("a"), chain(), t.identity.s("b")])),
    Case("empty-header", lambda t: chord([], t.echo.s("own"))),
    Case("empty-header-immutable-body", lambda t: chord([], t.echo.si("only"))),
    Case("empty-header-group-object", lambda t: chord(group([]), t.echo.s())),
    Case("empty-header-body-chain", lambda t: chord([], t.echo.s(7) | t.echo.s())),
    Case("empty-header-body-group", lambda t: chord([], group(t.echo.s(7), t.echo.s()))),
    Case("empty-header-after-task", lambda t: t.add.s(1, 2) | chord([], t.echo.s("own"))),
    Case("empty-header-in-header", lambda t: chord([chord([], t.identity.s()), t.identity.s("y")], t.echo.s())),
    Case("empty-body-group", lambda t: chord(values(t, "a", "b"), group([]))),
    Case("empty-body-group-in-header", lambda t: chord([ab_chord(t, group([])), t.identity.s("y")], t.echo.s())),
    Case("empty-chain", lambda t: chain(), "refused", "an empty chain starts nothing"),
    Case("empty-groups-only", lambda t: chain(group([]), group([])), "refused", "it builds an empty chain"),
]

FAILURES = [
    Case("fail-task", lambda t: t.fail.s(1), "raises", FAILS),
    Case("fail-first-in-chain", lambda t: t.fail.s(1) | t.echo.s(), "raises", FAILS),
    Case("fail-in-middle-of-chain", lambda t: t.identity.s(1) | t.fail.s() | t.echo.si(), "raises", FAILS),
    Case("fail-in-group", lambda t: group(t.fail.s(), t.identity.s(1)), "raises", FAILS),
    Case("fail-in-header", lambda t: chord([t.fail.s(), t.slow.s(1)], t.echo.s()), "raises", FAILS),
    Case("fail-in-body", lambda t: ab_chord(t, t.fail.s()) | t.echo.s(), "raises", FAILS),
    Case(
        "fail-in-nested-header",
        lambda t: group([diamond(t, "x") | t.fail.s(), t.identity.s(1)]) | t.echo.s(),
        "raises",
        FAILS,
    ),
    Case("arguments-wrong-at-start", lambda t: t.add.s(1), "refused", ARGUMENTS),
    Case(
        "arguments-wrong-in-header",
        lambda t: chord([t.add.s(1), t.identity.s(1)], t.echo.s()),
        "refused",
        ARGUMENTS,
    ),
    Case("arguments-wrong-later", lambda t: t.identity.s(1) | t.add.s(), "raises", ARGUMENTS),
    Case("arguments-wrong-in-body", lambda t: ab_chord(t, t.add.s()), "raises", ARGUMENTS),
    Case("arguments-given-twice", lambda t: t.identity.s(1) | t.add.s(x=1, y=2), "raises", ARGUMENTS),
    Case(
        "arguments-wrong-in-last-group",
        lambda t: t.identity.s(1) | group(t.add.s(), t.echo.s()),
        "hangs",
        ARGUMENTS,
    ),
]

MAPS = [
    Case("map", lambda t: t.double.map([1, 2, 3])),
    Case("map-then-task", lambda t: t.double.map([1, 2]) | t.echo.s()),
    Case("map-takes-nothing-from-upstream", lambda t: t.identity.s(9) | t.double.map([1, 2])),
    Case("map-in-group", lambda t: group(t.double.map([1, 2]), t.identity.s("x"))),
    Case("map-json", lambda t: rebuilt(t, t.double.map([1, 2]))),
    Case("starmap", lambda t: t.add.starmap([(1, 2), (3, 4)])),
    Case("starmap-in-header", lambda t: chord([t.add.starmap([(1, 2), (3, 4)])], t.echo.s())),
    Case("chunks", lambda t: t.add.chunks([(1, 2), (3, 4), (5, 6)], 2)),
    Case("chunks-as-group-then-task", lambda t: t.add.chunks([(1, 2), (3, 4)], 1).group() | t.echo.s()),
    Case("chunks-then-task", lambda t: t.add.chunks([(1, 2)], 1) | t.echo.s(), "raises", CHUNKS),
    Case("chunks-after-task", lambda t: t.identity.s(1) | t.add.chunks([(1, 2)], 1), "odd", CHUNKS),
]

# Links run beside the canvas and never change its result.
LINKS = [
    Case("link-task", lambda t: t.add.s(1, 2).set(link=[t.double.s()])),
    Case("link-in-chain", lambda t: t.add.s(1, 2).set(link=[t.nothing.s()]) | t.echo.s()),
    Case("link-on-chain", lambda t: chain(t.add.s(1, 2), t.double.s()).set(link=t.nothing.s())),
    Case("link-on-chord-body", lambda t: ab_chord(t, t.echo.s().set(link=[t.nothing.si()]))),
]

REBUILT = [
    Case("json-task", lambda t: rebuilt(t, t.add.s(1, y=2))),
    Case("json-immutable", lambda t: t.identity.s("up") | rebuilt(t, t.echo.si(1))),
    Case("json-chain", lambda t: rebuilt(t, t.add.s(1, 2) | t.mul.s(4))),
    Case("json-group", lambda t: rebuilt(t, group(values(t, "a", "b")))),
    Case("json-group-of-generator", lambda t: rebuilt(t, group(t.double.s(n) for n in range(3)))),
    Case("json-chord", lambda t: rebuilt(t, ab_chord(t, t.echo.s("own")))),
    Case(
        "json-nest",
        lambda t: rebuilt(t, t.identity.s("up") | group(chain(tails(t, "a", "b")), t.concat.s("c")) | t.echo.s()),
    ),
    Case("json-member-ends-in-group", lambda t: rebuilt(t, group(up_pair(t), t.identity.s("x")))),
    Case("json-twice", lambda t: rebuilt(t, rebuilt(t, diamond(t, "x")))),
    Case("json-five-deep", lambda t: rebuilt(t, deep(t, 5))),
    Case("json-members-stay-dicts", lambda t: group([dict(s) for s in values(t, "a", "b")], app=t.add.app)),
]
