"""A canvas with unsupported options is refused at the start, and the error names the signature."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Signature, chain, chord, group

from agentq import each
from agentq.canvas.compile import Defaults, compile_canvas
from agentq.canvas.fingerprint import fingerprint
from agentq.canvas.graph import Graph
from agentq.exceptions import CanvasError, DefinitionError, InvalidArguments, InvalidValue, ValueTooLarge
from agentq.states import JobKind
from tests.support.fake_worker import graph_of
from tests.support.steps import add, echo, numbers, total

OK = echo.s()
INSTEAD = "'link_error' .*@agentq.on_dead_letter"
NOT_FROZEN = "'task_id' .*not supported.* not frozen"


def _frozen(canvas: Any) -> Any:
    canvas.freeze()
    return canvas


def _stamped(canvas: Any) -> Any:
    canvas.stamp(customer="acme")
    return canvas


REFUSED: list[tuple[str, Any, str]] = [
    ("nothing", None, "the canvas is None, which is no canvas"),
    ("text", "add", "the canvas is 'add', which is no canvas"),
    ("a step", add, r"the canvas is the step '.*add' itself; write add\.s\(…\)"),
    ("a step in a group", group([add]), "a member of a group is the step"),
    ("empty", group([]), "has nothing in it"),
    ("map", Signature("celery.map", kwargs={}), r"celery\.map cannot be started; use each\(task\.s\(\)\)"),
    ("map in a chain", OK | Signature("celery.starmap", kwargs={}), r"celery\.starmap cannot be started"),
    ("map in a header", chord([Signature("celery.chunks", kwargs={})], OK), r"celery\.chunks cannot be started"),
    ("map in each", numbers.s(1) | each(Signature("celery.map", kwargs={})), r"celery\.map cannot be started"),
    ("chord without body", chord([OK]), "chord without a body"),
    ("chord with kwargs", chord([OK], OK, kwargs={"kwargs": {"x": 1}}), "chord with kwargs of its own"),
    ("chord with args", OK | chord([OK], OK).clone((1,)), r"chord\(\) with arguments of its own"),
    ("option on a chain", chain(OK, OK).set(queue="q"), r"'queue' on chain\(\)"),
    ("option on an inner chain", group(chain(OK, OK).set(priority=1), OK), r"'priority' on chain\(\)"),
    ("option on a group", group(OK, OK).set(queue="q"), r"'queue' on group\(\)"),
    ("option on a group in a chain", OK | group(OK, OK).set(queue="q"), r"'queue' on group\(\)"),
    ("option on a group in a group", group(group(OK, OK).set(expires=1), OK), r"'expires' on group\(\)"),
    ("option on a chord", chord([OK], OK).set(countdown=1), r"'countdown' on chord\(\)"),
    ("option on a chord in a chain", OK | chord([OK], OK).set(queue="q"), r"'queue' on chord\(\)"),
    ("link on a group", group(OK, OK).set(link=[OK]), r"'link' on group\(\)"),
    ("link_error", OK.clone().set(link_error=[OK]), "'link_error' is not supported.*on_dead_letter"),
    ("on_error of a step", echo.s().on_error(echo.si()), INSTEAD),
    ("on_error of a chain", chain(echo.s(), echo.s()).on_error(echo.si()), INSTEAD),
    ("on_error of a group", group(echo.s(), echo.s()).on_error(echo.si()), INSTEAD),
    ("on_error of a chord", chord([echo.s()], echo.s()).on_error(echo.si()), INSTEAD),
    ("on_error in a header", chord([echo.s().on_error(echo.si())], OK), INSTEAD),
    ("on_error in an each", numbers.s(1) | each(echo.s().on_error(echo.si())), INSTEAD),
    (
        "serializer",
        OK.clone().set(serializer="pickle"),
        "'serializer' is not supported in a canvas; supported are",
    ),
    ("a frozen signature", _frozen(echo.s()), NOT_FROZEN),
    ("a frozen chain", _frozen(chain(echo.s(), echo.s())), NOT_FROZEN),
    ("a frozen group", _frozen(group(echo.s(), echo.s())), NOT_FROZEN),
    ("a frozen part", chain(_frozen(echo.s()), echo.s()), NOT_FROZEN),
    ("an id", echo.s().set(task_id="a"), NOT_FROZEN),
    ("a stamp", _stamped(echo.s()), "'stamped_headers' is not supported.*the key of start"),
    *(
        (f"{option} of {value}", echo.s().set(**{option: value}), f"{option} is {value!r}, must be ")
        for option in ("time_limit", "soft_time_limit", "expires", "countdown")
        for value in (True, math.nan, math.inf, 1e10)
    ),
    ("a limit of text", echo.s().set(time_limit="5"), "time_limit is '5', must be over 0 seconds"),
    ("no time", echo.s().set(soft_time_limit=0), "soft_time_limit is 0, must be over 0 seconds"),
    (
        "limits in the wrong order",
        echo.s().set(time_limit=2, soft_time_limit=5),
        "time_limit is 2, must be longer than soft_time_limit, 5",
    ),
    ("a queue with NUL", OK.clone().set(queue="a\x00"), "its name must be 1 to 255 printable characters"),
    ("a queue with a surrogate", OK.clone().set(queue="\ud800"), "its name must be 1 to 255 printable"),
    ("a queue that is too long", OK.clone().set(queue="q" * 256), "its name must be 1 to 255 printable"),
    ("priority", OK.clone().set(priority=10), "priority is 10, must be 0 to 9"),
    ("countdown below 0", OK.clone().set(countdown=-1), "countdown is -1, must be seconds from 0 up"),
    ("countdown that is text", OK.clone().set(countdown="5"), "countdown is '5'"),
    ("countdown without end", OK.clone().set(countdown=math.inf), "countdown is inf"),
    ("countdown that is no number", OK.clone().set(countdown=math.nan), "countdown is nan"),
    ("eta without zone", OK.clone().set(eta=datetime(2030, 1, 1)), "eta is .*time zone"),
    ("eta that is text", OK.clone().set(eta="soon"), "eta is 'soon', which is no ISO 8601 time"),
    ("expires without zone", OK.clone().set(expires=datetime(2030, 1, 1)), "expires is .*time zone"),
    ("each first", each(OK), r"each\(\) stands first"),
    ("each first in a group", group(each(OK), OK), r"each\(\) stands first"),
    ("each of nothing", numbers.s(1) | each(chain()), r"each\(\) has an empty canvas"),
    ("each with a link", numbers.s(1) | each(OK).set(link=[OK]), r"'link' on each\(\)"),
    ("each with arguments", numbers.s(1) | each(OK).clone((1,)), r"each\(\) with arguments of its own"),
    ("each of an empty group", numbers.s(1) | each(group([])), r"each\(\) has an empty canvas"),
    ("each with link", numbers.s(1) | each(OK.clone().set(link=[OK])), r"link= cannot be used inside each\(\)"),
    ("each with an option", numbers.s(1) | each(OK).set(queue="q"), r"'queue' on each\(\)"),
]


@pytest.mark.parametrize(("canvas", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_unsupported_signature_is_refused_and_named(canvas: Any, expected: str) -> None:
    with pytest.raises(CanvasError, match=expected) as error:
        graph_of(canvas)
    assert isinstance(error.value, DefinitionError)


ARGUMENTS: list[tuple[str, Any, str]] = [
    ("missing", add.s(1), "missing a required argument: 'y'"),
    ("missing later", add.s(1, 2) | add.s(), "missing a required argument: 'y'"),
    ("too many later", add.s(1, 2) | add.s(1, 2), "too many positional arguments"),
    ("wrong type", add.s("one", 2), "'x' does not fit"),
    ("wrong type in a header", chord([add.s("one", 2)], total.s()), "'x' does not fit"),
    ("wrong type in each", numbers.s(1) | each(add.s("one")), "'y' does not fit"),
    ("not a number", echo.s(math.nan), r"the arguments of step '.*echo'.*is nan"),
    ("NUL", echo.s(k="a\x00"), "NUL character"),
    ("a set", echo.s({1}), "type set"),
    ("a lone surrogate", echo.s("\ud800"), "lone surrogate"),
]


@pytest.mark.parametrize(
    ("canvas", "expected"), [case[1:] for case in ARGUMENTS], ids=[case[0] for case in ARGUMENTS]
)
def test_arguments_are_checked_at_the_start_also_of_later_steps(canvas: Any, expected: str) -> None:
    with pytest.raises(InvalidArguments, match=expected):
        graph_of(canvas)


def test_arguments_of_a_plain_task_are_kept_or_refused_too() -> None:
    assert graph_of(Signature("some.task", (1,), {"a": 2})).nodes[0].kind is JobKind.TASK
    with pytest.raises(InvalidValue, match=r"step 'some\.task'.*is nan"):
        graph_of(Signature("some.task", (math.nan,)))


class Catalogue:
    def step(self, name: str) -> Any:
        return None

    def signature(self, name: str) -> None:
        return None

    def queue(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
        return "celery"


def test_too_large_arguments_are_an_error_that_names_the_step() -> None:
    with pytest.raises(ValueTooLarge, match=r"arguments of step 'some\.task': is .* bytes"):
        compile_canvas(Signature("some.task", ("x" * 200,)), Catalogue(), Defaults(max_value_bytes=100))


def test_building_a_graph_leaves_the_canvas_as_it_was() -> None:
    canvas = numbers.s(3) | group(echo.s(1), echo.s(2) | total.s()) | each(echo.s()) | total.si([1])
    before = repr(dict(canvas))
    graph_of(canvas)
    assert repr(dict(canvas)) == before
    assert fingerprint(graph_of(canvas)) == fingerprint(graph_of(canvas))


def test_each_survives_its_journey_through_the_ledger() -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    branch = group(echo.s(1).set(queue="io", priority=3, countdown=5), numbers.s() | each(add.s(1))) | echo.s()
    template = graph_of(numbers.s(1) | each(branch.clone()) | echo.s().set(eta=late)).nodes[1].template
    assert template is not None
    assert Graph.from_data(template.to_data()).to_data() == template.to_data()


def test_options_of_a_step_reach_its_node() -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    options = {"queue": "io", "priority": 3, "countdown": 5, "expires": late, "soft_time_limit": 7}
    (node,) = graph_of(echo.s().set(**options)).nodes
    assert (node.queue, node.priority, node.delay, node.timeout) == ("io", 3, 5.0, 7)
    assert node.expires_at == late.isoformat()
    assert graph_of(echo.s().set(eta=late)).nodes[0].due_at == late.isoformat()
