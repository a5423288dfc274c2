"""A value stored without a look at its JSON is exact: the short way is never wrong, and a plain model takes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    PydanticUserError,
    computed_field,
    field_serializer,
    model_validator,
)

from agentq.exceptions import InvalidValue
from agentq.steps.values.annotations import FAULTS, Annotation
from agentq.steps.values.exact import check_of
from agentq.steps.values.same import difference, first_lost

T = TypeVar("T")


class Level(Enum):
    LOW = 1
    HIGH = 2


class Colour(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Point3(Point):
    z: int = 0


class Plain(BaseModel):
    name: str
    number: int = 0
    share: float = 0.0
    is_new: bool | None = None
    tags: list[str] = []
    limits: dict[str, int] = Field(default_factory=dict)
    short: str = Field("", max_length=3)
    at: datetime | None = None
    day: date = date(2026, 1, 1)
    id: UUID = UUID(int=1)
    price: Decimal = Decimal(1)
    level: Level = Level.LOW
    colour: Colour = Colour.RED
    mode: Literal["a", "b"] = "a"
    point: Point | None = None


class Wider(Plain):
    more: int = 0


class Tree(BaseModel):
    value: Any = Field(0)
    children: list[Tree] = []


class Branch(BaseModel):
    plain: Plain
    children: list[Branch] = []


class Box(BaseModel, Generic[T]):
    inner: T


class Crossed(BaseModel):
    a: int = Field(1, alias="b")
    b: int = Field(2, alias="a")


class Aliased(BaseModel):
    user_name: str = Field("", alias="userName")


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    name: str


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def y(self) -> int:
        return self.x


class Written(BaseModel):
    x: int = 0

    @field_serializer("x")
    def write(self, x: int) -> str:
        return f"{x + 1}"


class Validated(BaseModel):
    x: int = 0

    @model_validator(mode="after")
    def more(self) -> Validated:
        self.x += 1
        return self


class Initial(BaseModel):
    x: int = 0

    def model_post_init(self, context: Any) -> None:
        self.x = 5


class Hidden(BaseModel):
    x: int = 0
    _n: int = PrivateAttr(0)


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        1,
        5.0,
        float("nan"),
        -0.0,
        "5",
        " a ",
        "long",
        "\x00",
        b"5",
        Decimal("1.50"),
        Decimal("nan"),
        Decimal("1e400"),
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 1, fold=1),
        datetime.max,
        datetime.min,
        date(2026, 1, 1),
        date.min,
        UUID(int=1),
        Level.LOW,
        Colour.RED,
        "red",
        "a",
        [],
        ["a"],
        [1],
        ("a",),
        {"a": 1},
        {1: 1},
        {"a": "1"},
        Point(1),
        Point(1, 5),
        Point("1"),  # type: ignore[arg-type]
        Point3(1),
        Plain(name="a"),
        Wider(name="a"),
        Level,
        object(),
        10**30,
    ]
)
MODELS: list[Any] = [Plain, Wider, Tree, Branch, Crossed, Aliased, Stripped, Computed, Written, Validated, Initial]
MODELS += [Hidden, Box[int], Box[Plain], Box[list[Tree]], Box[Point], Box[Any], Box[int | str]]


@st.composite
def instances(draw: st.DrawFn) -> Any:
    """Draw an instance of a model: made without validation, some fields changed or missing."""
    model = draw(st.sampled_from(MODELS))
    parts = st.one_of(ODD, st.builds(lambda cls: cls.model_construct(), st.sampled_from(MODELS)))
    base = {"name": "a", "plain": Plain(name="b"), "inner": 1}
    names = list(model.model_fields)
    changed = draw(
        st.dictionaries(st.sampled_from(names), st.one_of(parts, st.lists(parts, max_size=2)), max_size=2)
    )
    return model.model_construct(**({name: part for name, part in base.items() if name in names} | changed))


def annotations() -> st.SearchStrategy[Any]:
    leaves: list[Any] = [str, int, float, bool, date, datetime, UUID, Decimal, Level, Colour, Literal["a", "red"]]
    leaves += [Point, *MODELS, Any, bytes, Literal[1, 5]]
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            inner.map(lambda one: list.__class_getitem__(one)),
            inner.map(lambda one: dict.__class_getitem__((str, one))),
            inner.map(lambda one: one | None if one is not Any else one),
        ),
        max_leaves=2,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw an annotation and a value, of its type or not."""
    plain = st.builds(
        Plain,
        name=st.text(max_size=2),
        number=st.integers(),
        share=st.floats(),
        at=st.datetimes() | st.datetimes(timezones=st.timezones()),
        day=st.dates(),
        id=st.uuids(),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        limits=st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    )
    value = draw(st.one_of(ODD, instances(), plain))
    annotation = draw(annotations()) if draw(st.booleans()) else type(value)
    shape = draw(st.integers(0, 3))
    if shape == 1:
        return list.__class_getitem__(annotation), [value]
    if shape == 2:
        return dict.__class_getitem__((str, annotation)), {"a": value}
    return annotation, value


@given(cases())
def test_a_value_called_exact_comes_back_the_same(case: tuple[Any, Any]) -> None:
    annotation, value = case
    try:
        kept = Annotation(annotation)
        valid = kept.adapter.validate_python(value, by_alias=True, by_name=True)
    except (*FAULTS, PydanticUserError):
        return
    is_exact = check_of(kept.schema)
    if is_exact is None or not is_exact(valid):
        return
    try:
        text = json.dumps(kept.dump(value), allow_nan=False)
    except (ValueError, InvalidValue):  # such as NaN, which is refused where text is made of it
        return
    assert difference(valid, kept.load(json.loads(text))) is None
    assert first_lost(value, valid) is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Plain, Plain(name="a", tags=["b"], limits={"c": 1}, at=datetime(2026, 1, 1), point=Point(1, 2.0))),
        (list[Branch], [Branch(plain=Plain(name="a"), children=[Branch(plain=Plain(name="b"))])]),
        (Aliased, Aliased(userName="a")),
        (Box[Plain], Box[Plain](inner=Plain(name="a"))),
        (dict[str, list[Point]], {"a": [Point(1, 2.0)]}),
    ],
    ids=str,
)
def test_plain_models_take_the_short_way_and_others_of_their_types_do_not(annotation: Any, value: Any) -> None:
    is_exact = check_of(Annotation(annotation).schema)
    assert is_exact is not None
    assert is_exact(value)


@pytest.mark.parametrize(
    "model", [Crossed, Stripped, Computed, Written, Validated, Initial, Hidden, Tree], ids=str
)
def test_models_that_do_more_than_hold_values_are_always_compared(model: Any) -> None:
    assert check_of(Annotation(model).schema) is None
