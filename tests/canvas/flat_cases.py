"""Tasks, chains, groups and fan-in."""

from typing import Any

from celery import chain, group

from .shapes import Case, in_place, pairs, tails, values

PER_MEMBER = "what follows a chord whose body is a group runs once per member, and the last one wins"


def _twice(t: Any, *last: Any) -> Any:
    return chain(t.identity.s("x"), *pairs(t, "ab"), t.concat.s("y"), *pairs(t, "cd"), *last)


TASKS = [
    Case("task", lambda t: t.add.s(1, 2)),
    Case("task-kwargs", lambda t: t.add.s(x=1, y=2)),
    Case("task-args-and-kwargs", lambda t: t.echo.s(1, 2, a=3)),
    Case("task-immutable", lambda t: t.add.si(1, 2)),
    Case("task-signature-call", lambda t: t.swap.signature((1, 2))),
    Case("task-none", lambda t: t.nothing.s()),
    Case("task-list-result", lambda t: t.upto.s(3)),
    Case("task-deep-json", lambda t: t.identity.s({"a": [1, 2.5, None, True, {"b": "\u00e9\u4e16"}], "": {}})),
    Case("task-clone", lambda t: t.add.s(1, 2).clone()),
    Case("task-clone-prepends-args", lambda t: t.concat.s("b").clone(("a",))),
    Case("task-clone-merges-kwargs", lambda t: t.echo.s(1, k=1, a=0).clone((0,), {"k": 2})),
    Case("task-clone-immutable", lambda t: t.echo.si(1, k=1).clone((0,), {"k": 2})),
    Case("task-replace-args", lambda t: t.add.s(1, 2).replace(args=(5, 6))),
]

CHAINS = [
    Case("chain-by-bar", lambda t: t.add.s(1, 2) | t.mul.s(4)),
    Case("chain-by-call", lambda t: chain(t.add.s(1, 2), t.mul.s(4))),
    Case("chain-of-list", lambda t: chain([t.add.s(1, 2), t.mul.s(4), t.double.s()])),
    Case("chain-of-generator", lambda t: chain(s for s in (t.identity.s("a"), *tails(t, "b", "c")))),
    Case("chain-of-one", lambda t: chain(t.add.s(1, 2))),
    Case("chain-of-one-in-list", lambda t: chain([t.add.s(1, 2)])),
    Case("chain-upstream-comes-first", lambda t: t.identity.s("up") | t.swap.s("own")),
    Case("chain-upstream-with-kwargs", lambda t: t.identity.s("up") | t.echo.s("own", key="value")),
    Case("chain-none-passed-on", lambda t: t.nothing.s() | t.echo.s(1)),
    Case("chain-list-is-one-argument", lambda t: t.upto.s(3) | t.echo.s()),
    Case("chain-list-to-total", lambda t: t.upto.s(5) | t.total.s() | t.double.s()),
    Case("chain-dict-is-one-argument", lambda t: t.keep_kwargs.s(a=1) | t.echo.s()),
    Case("chain-immutable-middle", lambda t: chain(t.identity.s("up"), t.echo.si("a"), t.echo.s("b"))),
    Case("chain-immutable-last", lambda t: t.identity.s("up") | t.echo.si()),
    Case("chain-immutable-first", lambda t: t.echo.si("a") | t.echo.s("b")),
    Case(
        "chain-of-chains",
        lambda t: chain(chain(t.identity.s("a"), t.concat.s("b")), chain(tails(t, "c", "d"))),
    ),
    Case("chain-in-middle", lambda t: chain(t.identity.s("a"), chain(tails(t, "b", "c")), t.concat.s("d"))),
    Case(
        "chain-bar-chain",
        lambda t: (t.identity.s("a") | t.concat.s("b")) | (t.concat.s("c") | t.concat.s("d")),
    ),
    Case("chain-three-deep", lambda t: chain(t.identity.s(0), chain(t.concat.s(1), chain(tails(t, "2", "3"))))),
    Case("chain-with-empty-chain", lambda t: chain(t.add.s(1, 2), chain(), t.double.s())),
    Case("chain-empty-first", lambda t: chain() | t.add.s(1, 2)),
    Case("chain-same-signature-twice", lambda t: (lambda s: t.identity.s(3) | s | s)(t.double.s())),
    Case("chain-clone", lambda t: chain(t.add.s(1, 2), t.mul.s(4)).clone()),
    Case("chain-in-place-bar", lambda t: in_place(t.add.s(1, 2), t.mul.s(4), t.double.s())),
    Case("chain-of-thirty", lambda t: chain(t.add.s(0, 1), *(t.add.s(n) for n in range(30)))),
    Case(
        "chain-immutable-flag-is-lost",
        lambda t: t.identity.s("up") | chain(tails(t, "a", "b")).set(immutable=True),
    ),
    Case(
        "chain-unfolded",
        lambda t: chain(t.identity.s("x"), group(tails(t, "a", "b")), t.echo.s(), app=t.add.app),
    ),
]

GROUPS = [
    Case("group", lambda t: group(values(t, "a", "b", "c"))),
    Case("group-of-generator", lambda t: group(t.double.s(n) for n in range(4))),
    Case("group-of-one", lambda t: group(t.double.s(3))),
    Case("group-of-group", lambda t: group(group(values(t, "a", "b")))),
    Case("group-same-signature-twice", lambda t: (lambda s: group(s, s, s))(t.identity.s("a"))),
    Case("group-slow-first", lambda t: group(t.slow.s("a", 0.3), t.slow.s("b"), t.identity.s("c"))),
    Case("group-of-nothing-results", lambda t: group(t.nothing.s(), t.nothing.s())),
    Case("group-member-chain", lambda t: group(t.add.s(1, 2) | t.mul.s(4), t.identity.s("b"))),
    Case("group-member-of-one-task-chain", lambda t: group(chain(t.identity.s("a")), t.identity.s("b"))),
    Case("group-clone", lambda t: group(values(t, "a", "b")).clone()),
    Case("group-at-end", lambda t: t.identity.s("up") | group(tails(t, "a", "b", "c"))),
    Case("group-at-end-slow-first", lambda t: t.identity.s("up") | group(t.slow.s(), t.concat.s("b"))),
    Case(
        "group-at-end-of-chain-call",
        lambda t: chain(t.identity.s("up"), t.concat.s("x"), group(tails(t, "a", "b"))),
    ),
    Case(
        "group-at-end-member-chains",
        lambda t: t.identity.s("up") | group(chain(tails(t, "a", "b")), t.concat.s("c")),
    ),
    Case("group-members-immutable", lambda t: t.identity.s("up") | group(t.echo.si("a"), t.echo.s("b"))),
    Case("group-set-immutable", lambda t: t.identity.s("up") | group(tails(t, "a", "b")).set(immutable=True)),
    Case(
        "group-member-chain-immutable-first",
        lambda t: t.identity.s("up") | group(t.echo.si("a") | t.echo.s("b"), t.echo.s()),
    ),
    Case("group-one-at-end-by-bar", lambda t: t.add.s(1, 2) | group(t.double.s())),
    Case("group-one-at-end-by-call", lambda t: chain(t.add.s(1, 2), group(t.double.s()))),
    Case("group-one-in-middle-by-bar", lambda t: t.add.s(1, 2) | group(t.double.s()) | t.echo.s()),
    Case("group-one-in-middle-by-call", lambda t: chain(t.add.s(1, 2), group(t.double.s()), t.echo.s())),
    Case("group-one-of-generator-at-end", lambda t: t.add.s(1, 2) | group(t.double.s() for _ in range(1))),
    Case("group-one-first-by-bar", lambda t: group(t.double.s(3)) | t.echo.s()),
    Case("group-one-first-by-call", lambda t: chain(group(t.double.s(3)), t.echo.s())),
    Case("group-one-alone-in-chain", lambda t: chain(group(t.double.s(3)))),
    Case("group-one-bar-group-one", lambda t: group(t.double.s(3)) | group(t.echo.s())),
    Case("group-one-then-group-one-by-call", lambda t: chain(group(t.double.s(3)), group(t.echo.s()))),
    Case("group-one-holding-one", lambda t: t.add.s(1, 2) | group([group([t.double.s()])])),
    Case(
        "group-one-holding-one-then-task",
        lambda t: t.add.s(1, 2) | group([group([t.double.s()])]) | t.echo.s(),
    ),
    Case("group-one-holding-two", lambda t: t.add.s(1, 2) | group([group(t.double.s(), t.identity.s())])),
]

FAN_INS = [
    Case("fan-in-by-bar", lambda t: group(t.add.s(1, 2), t.add.s(3, 4)) | t.total.s()),
    Case("fan-in-by-call", lambda t: chain(group(t.add.s(1, 2), t.add.s(3, 4)), t.total.s())),
    Case("fan-in-echo", lambda t: group(values(t, "a", "b")) | t.echo.s("own", key=1)),
    Case("fan-in-of-generator", lambda t: group(t.double.s(n) for n in range(4)) | t.echo.s()),
    Case(
        "fan-in-slow-first",
        lambda t: group(t.slow.s("a", 0.3), t.slow.s("b"), t.identity.s("c")) | t.echo.s(),
    ),
    Case(
        "fan-in-slow-chain-first",
        lambda t: group(t.slow.s("a") | t.concat.s(1), t.identity.s("c")) | t.echo.s(),
    ),
    Case("fan-in-immutable", lambda t: group(values(t, "a", "b")) | t.echo.si("only")),
    Case("fan-in-of-nothing", lambda t: group(t.nothing.s(), t.nothing.s()) | t.echo.s()),
    Case("fan-in-of-lists", lambda t: group(t.upto.s(2), t.upto.s(3)) | t.echo.s()),
    Case("fan-in-same-signature", lambda t: (lambda s: group(s, s) | t.echo.s())(t.identity.s("a"))),
    Case("fan-in-then-chain", lambda t: group(values(t, "a", "b")) | t.concat.s("c") | t.concat.s("d")),
    Case("fan-in-to-chain-object", lambda t: group(values(t, "a", "b")) | chain(tails(t, "c", "d"))),
    Case("fan-out-fan-in", lambda t: t.identity.s("up") | group(tails(t, "a", "b")) | t.echo.s()),
    Case("fan-out-fan-in-twice", lambda t: _twice(t, t.echo.s())),
    Case("fan-out-fan-in-fan-out", lambda t: _twice(t)),
    Case(
        "fan-in-member-immutable",
        lambda t: t.identity.s("up") | group(t.echo.si("a"), t.echo.s()) | t.echo.s(),
    ),
    Case("fan-out-of-twenty", lambda t: t.identity.s(1) | group(t.add.s(n) for n in range(20)) | t.total.s()),
    Case("group-then-group", lambda t: group(values(t, "a", "b")) | group(t.echo.s(c=1), t.echo.s(d=1))),
    Case("group-then-group-by-call", lambda t: chain(group(values(t, "a", "b")), group(tails(t, "c", "d")))),
    Case("group-group-task", lambda t: group(values(t, "a", "b")) | group(tails(t, "c", "d")) | t.echo.s()),
    Case(
        "task-group-group",
        lambda t: t.identity.s("x") | group(tails(t, "a", "b")) | group(tails(t, "c", "d")),
    ),
    Case("task-group-group-group", lambda t: chain(t.identity.s("x"), *pairs(t, "ab", "cd", "ef"))),
    Case(
        "task-group-group-group-task",
        lambda t: chain(t.identity.s("x"), *pairs(t, "ab", "cd", "ef"), t.echo.s()),
    ),
    Case(
        "group-group-group-task",
        lambda t: chain(group(values(t, "a", "b")), *pairs(t, "cd", "ef"), t.echo.s()),
    ),
    Case(
        "group-group-group",
        lambda t: chain(group(values(t, "a", "b")), *pairs(t, "cd", "ef")),
        "odd",
        PER_MEMBER,
    ),
]
