"""Arguments and results through the annotations: what goes in comes out, and what does not fit is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from agentq.exceptions import InvalidArguments, InvalidResult, StepDefinitionError
from agentq.steps.context import Context
from agentq.steps.parameters import Parameters
from agentq.steps.values.encoding import plain

CONTEXT = Context("w", "j", "s", "t", 1, 4, None)


class Colour(Enum):
    RED = "red"


class Note(BaseModel):
    text: str
    at: datetime | None = None
    parts: list[Note] = []


@dataclass
class Point:
    x: int
    y: float = 0.0


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int


def roundtrip(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function as a step is called: by way of JSON text."""
    parameters = Parameters("unit", function)
    stored = json.dumps(plain(list(parameters.dump(args, kwargs, given=False)), 1_000_000))
    positional, named = json.loads(stored)
    values, named = parameters.load(positional, named, CONTEXT)
    return function(*values, **named)


VALUES: list[tuple[Any, Any]] = [
    (Note, Note(text="a", at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC), parts=[Note(text="b")])),
    (Point, Point(1, 2.5)),
    (list[Point], [Point(1), Point(2)]),
    (dict[str, Note], {"k": Note(text="a")}),
    (Colour, Colour.RED),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 600, UTC)),
    (date, date(2026, 1, 2)),
    (timedelta, timedelta(days=1, microseconds=1)),
    (UUID, UUID(int=5)),
    (Decimal, Decimal("0.10000000000000000000001")),
    (Path, Path("/a/b")),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2)),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (bytes, b"abc"),
    (Pair, Pair(1, "a")),
    (Options, {"depth": 2}),
    (Literal["a", "b"], "b"),
    (int | None, None),
    (int | str, "5"),
    (list[int | str], [1, "1"]),
    (Annotated[int, Field(gt=0)], 3),
    (dict[str, dict[str, list[tuple[int, Decimal]]]], {"a": {"b": [(1, Decimal("1.5"))]}}),
    (dict[int, str], {1: "a"}),
    (Any, {"a": [1, None, True, 1.5, "x"]}),
    (object, [1]),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda value: str(value)[:40])
def test_an_argument_comes_back_as_it_went(annotation: Any, value: Any) -> None:
    def function(argument: annotation) -> Any:
        return argument

    function.__annotations__ = {"argument": annotation}
    assert roundtrip(function, value) == value
    assert type(roundtrip(function, value)) is type(value)
    assert roundtrip(function, argument=value) == value


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda value: str(value)[:40])
def test_a_result_comes_back_as_it_went(annotation: Any, value: Any) -> None:
    def function() -> Any: ...

    function.__annotations__ = {"return": annotation}
    parameters = Parameters("unit", function)
    stored = json.dumps(plain(parameters.dump_result(value), 1_000_000))
    loaded = parameters.load_result(json.loads(stored))
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_value_that_only_converts_is_given_converted() -> None:
    def function(when: datetime, point: Point) -> Any:
        return when, point

    seen = roundtrip(function, "2026-01-02T00:00:00Z", {"x": 1})
    assert seen == (datetime(2026, 1, 2, tzinfo=UTC), Point(1))


def first(ctx: Context, a: int, b: int = 0) -> Any:
    return ctx, a, b


def middle(a: int, ctx: Context, b: int = 0) -> Any:
    return ctx, a, b


def last(a: int, b: int = 0, ctx: Context | None = None) -> Any:
    return ctx, a, b


def by_keyword(a: int, b: int = 0, *, ctx: Context) -> Any:
    return ctx, a, b


@pytest.mark.parametrize("function", [first, middle, by_keyword])
def test_the_context_is_injected_wherever_it_stands(function: Callable[..., Any]) -> None:
    for args, kwargs in [((1, 2), {}), ((1,), {"b": 2}), ((), {"a": 1, "b": 2})]:
        assert roundtrip(function, *args, **kwargs) == (CONTEXT, 1, 2)
    assert roundtrip(function, 1) == (CONTEXT, 1, 0)


def test_the_context_is_injected_before_further_arguments() -> None:
    def function(ctx: Context, *args: int, **kwargs: int) -> Any:
        return ctx, args, kwargs

    assert roundtrip(function, 1, 2, x=3) == (CONTEXT, (1, 2), {"x": 3})


@pytest.mark.parametrize("function", [first, middle, by_keyword])
def test_the_context_is_no_argument(function: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArguments, match="cannot be called like this"):
        Parameters("unit", function).dump((1,), {"ctx": 5}, given=False)


def test_args_and_kwargs_are_typed_one_by_one() -> None:
    def function(a: int, *args: Decimal, b: str = "", **kwargs: datetime) -> Any:
        return a, args, b, kwargs

    now = datetime.now(UTC)
    assert roundtrip(function, 1, Decimal(2), Decimal(3), b="x", c=now) == (
        1,
        (Decimal(2), Decimal(3)),
        "x",
        {"c": now},
    )
    with pytest.raises(InvalidArguments, match="'args'"):
        roundtrip(function, 1, "no number")
    with pytest.raises(InvalidArguments, match="'c'"):
        roundtrip(function, 1, c="no time")


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
    ids=str,
)
def test_a_call_that_does_not_fit_is_an_error_with_the_parameters(args: Any, kwargs: Any, expected: str) -> None:
    with pytest.raises(InvalidArguments, match=expected) as error:
        Parameters("unit", first).dump(args, kwargs, given=False)
    assert "'unit'" in str(error.value)
    assert "(a: int, b: int = 0)" in str(error.value).replace("'", "")


def test_the_value_from_the_step_before_counts_as_the_first_argument() -> None:
    parameters = Parameters("unit", first)
    assert parameters.dump((2,), {}, given=True) == ([2], {})
    assert parameters.dump((), {"b": 2}, given=True) == ([], {"b": 2})
    with pytest.raises(InvalidArguments, match="too many"):
        parameters.dump((1, 2), {}, given=True)
    with pytest.raises(InvalidArguments, match="multiple values for argument 'a'"):
        parameters.dump((), {"a": 1}, given=True)


def test_a_misfit_names_step_parameter_path_and_value() -> None:
    def function(notes: list[Note]) -> None: ...

    with pytest.raises(InvalidArguments) as error:
        Parameters("unit", function).dump(([{"text": "a"}, {"text": 5}],), {}, given=False)
    for part in ("'unit'", "notes.1.text", "valid string", "5"):
        assert part in str(error.value)


def test_many_misfits_are_cut_short() -> None:
    def function(numbers: list[int]) -> None: ...

    with pytest.raises(InvalidArguments, match="and 97 more") as error:
        Parameters("unit", function).dump((["x"] * 100,), {}, given=False)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize("name", ["password", "api_key", "token", "client_secret"])
def test_an_error_hides_the_value_of_a_secret_argument(name: str) -> None:
    def function(**kwargs: int) -> None: ...

    with pytest.raises(InvalidArguments) as error:
        Parameters("unit", function).dump((), {name: "hunter2"}, given=False)
    assert "hunter2" not in str(error.value)
    assert name in str(error.value)


def test_an_error_hides_a_secret_within_a_value() -> None:
    def function(login: dict[str, int]) -> None: ...

    with pytest.raises(InvalidArguments) as error:
        Parameters("unit", function).dump(({"password": "hunter2"},), {}, given=False)
    assert "hunter2" not in str(error.value)


def test_an_error_hides_a_value_of_a_secret_type() -> None:
    def function(key: int) -> None: ...

    with pytest.raises(InvalidArguments) as error:
        Parameters("unit", function).dump((SecretStr("hunter2"),), {}, given=False)
    assert "hunter2" not in str(error.value)


def test_stored_arguments_that_no_longer_fit_fail_before_the_function_runs() -> None:
    def function(a: int) -> None:
        raise AssertionError("it is not called")

    with pytest.raises(InvalidArguments, match="'a' does not fit"):
        Parameters("unit", function).load(["text"], {}, None)


def before(a: int, b: str = "x", *, c: Point | None = None) -> None: ...


def same_but_annotated_otherwise(a: int, b: str = "y", *, c: Point | None = None) -> str:
    """Another default, a result, words."""
    return f"{a}"


def with_context(ctx: Context, a: int, b: str = "x", *, c: Point | None = None) -> None: ...


def renamed(a: int, d: str = "x", *, c: Point | None = None) -> None: ...


def added(a: int, b: str = "x", *, c: Point | None = None, d: int = 0) -> None: ...


def removed(a: int, *, c: Point | None = None) -> None: ...


def required(a: int, b: str, *, c: Point | None = None) -> None: ...


def retyped(a: float, b: str = "x", *, c: Point | None = None) -> None: ...


def of_other_fields(a: int, b: str = "x", *, c: Note | None = None) -> None: ...


def by_position(a: int, b: str = "x", c: Point | None = None) -> None: ...


@pytest.mark.parametrize("function", [same_but_annotated_otherwise, with_context])
def test_the_digest_is_the_same_for_what_takes_the_same(function: Callable[..., Any]) -> None:
    assert Parameters("step", function).digest == Parameters("step", before).digest


@pytest.mark.parametrize("function", [renamed, added, removed, required, retyped, of_other_fields, by_position])
def test_the_digest_differs_where_other_arguments_are_taken(function: Callable[..., Any]) -> None:
    assert Parameters("step", function).digest != Parameters("step", before).digest


def test_the_digest_of_what_has_no_schema_is_the_same_in_every_process() -> None:
    code = """
        from typing import Annotated, Any
        from pydantic import BaseModel, BeforeValidator, PlainValidator
        from agentq.steps.parameters import Parameters

        class Marked(BaseModel):
            labels: set[str] = {"a", "b", "c", "d"}

        def read(value: Any) -> Any: return value

        def take(a: Annotated[complex, BeforeValidator(read)], b: Marked, c: Annotated[Any, PlainValidator(read)]):
            pass

        print(Parameters("step", take).digest)
    """
    digests = {
        subprocess.run(
            [sys.executable, "-c", dedent(code)],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(digests) == 1


def test_a_result_that_does_not_fit_is_an_error() -> None:
    def function() -> Note:
        return Note(text="")

    with pytest.raises(InvalidResult, match=r"returned \{'txt': 1\}.*text: Field required"):
        Parameters("unit", function).dump_result({"txt": 1})


def test_a_result_without_annotation_passes() -> None:
    parameters = Parameters("unit", lambda: None)
    assert parameters.dump_result({"a": (1, 2)}) == {"a": (1, 2)}
    assert parameters.load_result([1]) == [1]


class Opaque:
    pass


def test_an_annotation_without_a_json_form_is_an_error_at_first_use() -> None:
    def function(thing: Opaque) -> None: ...

    with pytest.raises(StepDefinitionError, match=r"'thing' is annotated .*Opaque.*no JSON form"):
        Parameters("unit", function)


def test_an_annotation_that_cannot_be_evaluated_is_an_error() -> None:
    def function(thing: int) -> None: ...

    function.__annotations__["thing"] = "OnlyForTypeChecking"
    with pytest.raises(StepDefinitionError, match=r"OnlyForTypeChecking.*import the name at run time"):
        Parameters("unit", function)
