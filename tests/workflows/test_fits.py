"""A step that can never take what the one before it gives is refused at the start, where types can tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar, Union
from uuid import UUID

import pytest
from celery import Signature, chain, chord, group
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    RootModel,
    computed_field,
    field_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from agentq import Context, each, step
from agentq.exceptions import CanvasError, InvalidValue
from agentq.steps import registry
from agentq.steps.values.annotations import FAULTS, Annotation
from agentq.steps.values.shapes import given as shape_given
from agentq.steps.values.shapes import mismatch
from agentq.steps.values.shapes import taken as shape_taken
from tests.support.fake_worker import graph_of

T = TypeVar("T")


class A(BaseModel):
    x: int


class B(BaseModel):
    y: str


class Wide(BaseModel):
    x: int
    y: str = ""


class Narrow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    y: str = ""


class Listed(BaseModel):
    x: list[int]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Renamed(BaseModel):
    y: str = Field(alias="x")


class Written(BaseModel):
    x: int

    @field_serializer("x")
    def write(self, x: int) -> list[int]:
        return [x]


class Computed(BaseModel):
    x: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def y(self) -> str:
        return "y"


class Read(BaseModel):
    y: str

    @model_validator(mode="before")
    @classmethod
    def read(cls, value: Any) -> Any:
        return {"y": str(value)}


class Numbers(RootModel[list[int]]):
    pass


class Boxed(BaseModel, Generic[T]):
    inner: T


class Node(BaseModel):
    children: list[Node] = []


@dataclass
class Data:
    x: int
    z: float = 0.0


@dataclass
class Other:
    w: int


class Pair(NamedTuple):
    left: int
    right: str


class Typed(TypedDict):
    x: int


class Colour(Enum):
    RED = "red"


class Level(Enum):
    LOW = 1


Title = NewType("Title", str)
Upper = Annotated[str, AfterValidator(str.upper)]
AnyInt = Annotated[int, BeforeValidator(len)]


def steps(gives: Any, takes: Any) -> tuple[Any, Any]:
    """Return a step that gives the one and a step that takes the other."""

    def first() -> Any: ...
    def second(value: Any) -> Any: ...

    first.__annotations__ = {"return": gives}
    second.__annotations__ = {"value": takes}
    for name in ("fits.first", "fits.second"):
        registry._steps.pop(name, None)
    return step(name="fits.first")(first), step(name="fits.second")(second)


def started(gives: Any, takes: Any, canvas: Callable[[Any, Any], Signature] = lambda a, b: a.s() | b.s()) -> None:
    graph_of(canvas(*steps(gives, takes)))


NEVER = [
    (A, B),
    (int, list[str]),
    (A, Listed),
    (Wide, Narrow),
    (Boxed[A], Boxed[B]),
    (Boxed[int], Boxed[list[int]]),
    (Data, Other),
    (Typed, B),
    (str, dict[str, int]),
    (str, A),
    (list[A], A),
    (A, list[A]),
    (None, str),
    (None, A),
    (int, None),
    (int, bytes),
    (A, UUID | None),
    (A, Narrow | None),
    (tuple[int, int], tuple[int, int, int]),
    (tuple[A, int], list[B]),
    (bool, UUID),
    (int, Title),
    (Level, str),
    (Numbers, A),
    (A | None, list[int]),
    (A | Data, B),
    (dict[str, int], list[int]),
    (set[int], str),
    (Literal[1], str),
    (int, Json[int]),
    (frozenset[int], dict[str, int]),
    (A, dict[str, list[int]]),
]


@pytest.mark.parametrize(("gives", "takes"), NEVER, ids=str)
def test_a_step_that_can_never_take_what_is_given_is_refused_at_the_start(gives: Any, takes: Any) -> None:
    with pytest.raises(CanvasError, match=r"fits.second.*fits.first.*change one of the annotations"):
        started(gives, takes)


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (Any, A),
        (A, Any),
        (A, object),
        (int, float),
        (float, int),
        (str, int),
        (str, datetime),
        (datetime, str),
        (bool, int),
        (int, bool),
        (A, Wide),
        (Wide, B),
        (A, Typed),
        (Typed, A),
        (Data, A),
        (A, dict[str, int]),
        (dict[str, int], B),
        (Open, B),
        (A, Renamed),
        (Written, Listed),
        (Computed, B),
        (A, Read),
        (int, Read),
        (list[int], list[str]),
        (list[A], list[B]),
        (list[int], set[int]),
        (tuple[int, int], list[int]),
        (list[int], tuple[int, int]),
        (Pair, list[Any]),
        (tuple[int, str], Pair),
        (dict[str, Any], Pair),
        (A | None, A),
        (None, A | None),
        (None, str | None),
        (A | B, B),
        (Colour, Literal["red"]),
        (str, Colour),
        (int, Level),
        (Decimal, float),
        (int, Decimal),
        (UUID, str),
        (Path, str),
        (str, Path),
        (int, timedelta),
        (int, date),
        (bytes, str),
        (str, Title),
        (Title, str),
        (Upper, list[int]),
        (list[int], AnyInt),
        (Numbers, list[int]),
        (list[int], Numbers),
        (Boxed[int], Boxed[str] | Boxed[float]),
        (Node, Node),
        (str, Json[int]),
        (Mapping[str, int], A),
        (A, T),
    ],
    ids=str,
)
def test_a_canvas_with_unknown_types_is_started(gives: Any, takes: Any) -> None:
    started(gives, takes)


def test_the_refusal_names_both_steps_both_types_and_what_to_do() -> None:
    with pytest.raises(CanvasError) as refused:
        started(A, B)
    assert str(refused.value) == (
        "step 'fits.second' takes B as 'value', but step 'fits.first' before it gives A, which can never be that: "
        "its field 'y' must be given and never is; change one of the annotations, put a step between them that "
        "converts, or write .si(…) where 'fits.second' takes nothing from it"
    )


REFUSED: dict[str, tuple[Any, Any, Callable[[Any, Any], Signature]]] = {
    "in the middle": (int, list[str], lambda a, b: a.s() | a.si() | b.s() | a.si()),
    "a group's member": (int, list[str], lambda a, b: a.s() | group(a.si(), b.s())),
    "a chain in a group": (int, list[str], lambda a, b: group(a.s() | b.s(), a.s())),
    "a group's results": (int, list[str], lambda a, b: group(a.s(), a.s()) | b.s()),
    "a group into no list": (int, int, lambda a, b: group(a.s(), a.s()) | b.s()),
    "a chord": (int, str, lambda a, b: chord([a.s(), a.s()], b.s())),
    "nested groups": (int, list[int], lambda a, b: group(a.s() | group(a.si(), a.si()), a.s()) | b.s()),
    "other than a pair": (int, tuple[int, int], lambda a, b: group(a.s(), a.s(), a.s()) | b.s()),
    "each of no list": (int, int, lambda a, b: a.s() | each(b.s())),
    "each of other items": (list[int], list[str], lambda a, b: a.s() | each(b.s())),
    "each of a group": (int, list[str], lambda a, b: group(a.s(), a.s()) | each(b.s())),
    "each in each": (list[list[int]], list[int], lambda a, b: a.s() | each(each(b.s()))),
    "after each": (list[int], int, lambda a, b: a.s() | each(a.si()) | b.s()),
    "within each": (list[int], int, lambda a, b: a.s() | each(a.si() | b.s())),
    "link": (int, list[str], lambda a, b: a.s().set(link=b.s())),
    "lenient": (int, int, lambda a, b: group(a.s(), a.s()) | b.s().set(needs=1)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_place_where_a_result_goes_to_a_step_is_looked_at(case: str) -> None:
    gives, takes, canvas = REFUSED[case]
    with pytest.raises(CanvasError, match="before it gives"):
        started(gives, takes, canvas)


ACCEPTED: dict[str, tuple[Any, Any, Callable[[Any, Any], Signature]]] = {
    "immutable": (int, list[str], lambda a, b: a.s() | b.si(["x"])),
    "a group of one stands for its member": (int, int, lambda a, b: chain(group(a.s()), b.s())),
    "a group into a list": (int, list[float], lambda a, b: group(a.s(), a.s()) | b.s()),
    "a group into a pair": (int, tuple[int, int], lambda a, b: group(a.s(), a.s()) | b.s()),
    "with parts missing": (int, tuple[int, int], lambda a, b: group(a.s(), a.s(), a.s()) | b.s().set(needs=2)),
    "with no part": (int, list[list[int]], lambda a, b: group(a.s(), a.s()) | b.s().set(needs=0)),
    "each": (list[int], int, lambda a, b: a.s() | each(b.s()) | a.si()),
    "each of a tuple": (tuple[A, int], A, lambda a, b: a.s() | each(b.s())),
    "each of what is perhaps a list": (list[int] | None, int, lambda a, b: a.s() | each(b.s())),
    "each of something": (Any, int, lambda a, b: a.s() | each(b.s())),
    "after a plain task": (int, list[str], lambda a, b: Signature("tests.plain") | b.s()),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_canvas_that_can_work_is_started(case: str) -> None:
    gives, takes, canvas = ACCEPTED[case]
    started(gives, takes, canvas)


def test_arguments_of_the_call_are_not_the_result_before() -> None:
    def second(ctx: Context, value: int, more: list[str], *, last: str = "") -> None: ...

    registry._steps.pop("fits.call", None)
    call = step(name="fits.call")(second)
    first, _ = steps(int, Any)
    graph_of(first.s() | call.s(["x"], last="y"))
    graph_of(first.s() | call.s(more=["x"]))


def test_a_variadic_parameter_takes_it_too() -> None:
    def second(*values: list[str]) -> None: ...

    registry._steps.pop("fits.call", None)
    call = step(name="fits.call")(second)
    first, _ = steps(int, Any)
    with pytest.raises(CanvasError, match=r"takes list\[str\] as 'values'"):
        graph_of(first.s() | call.s())


SAMPLES: list[tuple[Any, list[Any]]] = [
    (None, [None]),
    (bool, [True, False]),
    (int, [0, 1, -3, 2**40]),
    (float, [0.0, 5.0, 1.5]),
    (str, ["", "5", "1.5", "true", "2026-01-01", "2026-01-01T00:00:00Z", "P1D", "red", "a", "null", "[]", "{}"]),
    (bytes, [b"", b"5"]),
    (Decimal, [Decimal("1"), Decimal("1.5")]),
    (datetime, [datetime(2026, 1, 1)]),
    (date, [date(2026, 1, 1)]),
    (timedelta, [timedelta(1)]),
    (UUID, [UUID(int=1)]),
    (Path, [Path("a"), Path("5")]),
    (Colour, list(Colour)),
    (Level, list(Level)),
    (Literal["red", "1"], ["red", "1"]),
    (Literal[1, None], [1, None]),
    (A, [A(x=1)]),
    (B, [B(y="5")]),
    (Wide, [Wide(x=1), Wide(x=1, y="2")]),
    (Narrow, [Narrow(), Narrow(y="2")]),
    (Listed, [Listed(x=[]), Listed(x=[1])]),
    (Open, [Open(x=1), Open(x=1, y="a", w=3)]),
    (Renamed, [Renamed(x="1")]),
    (Written, [Written(x=1)]),
    (Computed, [Computed(x=1)]),
    (Read, [Read(y="a")]),
    (Numbers, [Numbers([]), Numbers([1, 2])]),
    (Node, [Node(), Node(children=[Node()])]),
    (Data, [Data(1)]),
    (Other, [Other(1)]),
    (Pair, [Pair(1, "a")]),
    (Typed, [{"x": 1}]),
    (Title, [Title("a")]),
    (Upper, ["A"]),
    (Json[int], [5]),
    (Any, [None, 1, "a", [1], {"x": 1, "y": "a"}, {"w": 1}]),
]
"""Annotations, and values that steps of such a result may return."""


def pairs() -> st.SearchStrategy[tuple[Any, list[Any]]]:
    """Return annotations of some nesting, each with values of it."""

    def wider(inner: st.SearchStrategy[tuple[Any, list[Any]]]) -> st.SearchStrategy[tuple[Any, list[Any]]]:
        return st.one_of(
            inner.map(lambda one: (list.__class_getitem__(one[0]), [[], one[1][:1], one[1][:2]])),
            inner.map(lambda one: (tuple.__class_getitem__((one[0], ...)), [(), tuple(one[1][:2])])),
            inner.map(
                lambda one: (dict.__class_getitem__((str, one[0])), [{}, {"x": one[1][0]}, {"y": one[1][-1]}])
            ),
            st.tuples(inner, inner).map(
                lambda two: (
                    tuple.__class_getitem__((two[0][0], two[1][0])),
                    [(one, other) for one in two[0][1][:3] for other in two[1][1][:3]],
                )
            ),
            st.tuples(inner, inner).map(lambda two: (Union[two[0][0], two[1][0]], two[0][1] + two[1][1])),  # noqa: UP007
            inner.map(lambda one: (Boxed[one[0]], [Boxed[one[0]].model_construct(inner=part) for part in one[1]])),  # type: ignore[index,valid-type]
        )

    return st.recursive(st.sampled_from(SAMPLES), wider, max_leaves=4)


@given(pairs(), pairs())
def test_a_step_that_takes_any_value_is_never_refused(
    gives: tuple[Any, list[Any]], takes: tuple[Any, list[Any]]
) -> None:
    producer, consumer = Annotation(gives[0]), Annotation(takes[0])
    if mismatch(shape_given(producer.schema), shape_taken(consumer.schema)) is None:
        return
    for value in gives[1]:
        try:
            kept = json.loads(json.dumps(producer.dump(value)))
        except (*FAULTS, InvalidValue):
            continue
        with pytest.raises(FAULTS):
            consumer.load(kept)
