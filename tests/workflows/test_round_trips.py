"""Values at the boundary: what is given arrives as it was, or it is refused; nothing changes without a word."""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import InitVar, dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    RootModel,
    Secret,
    SecretStr,
    SerializeAsAny,
    computed_field,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from agentq.exceptions import InvalidArguments, InvalidResult, InvalidValue, StepDefinitionError
from agentq.steps.values.encoding import plain
from agentq.steps.values.same import difference
from tests.workflows.boundary import arrived, taking


class Aliased(BaseModel):
    limit: int = Field(10, alias="max")
    word: str = Field("", validation_alias="given", serialization_alias="reported")


class Base(BaseModel):
    name: str


class Derived(Base):
    url: str


@dataclass
class Data:
    x: int


@dataclass
class WiderData(Data):
    y: int


class Secretive(BaseModel):
    pw: SecretStr


class Excluded(BaseModel):
    n: int = Field(0, exclude=True)


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Payload(BaseModel):
    data: Json[dict[str, int]]


class Hidden(BaseModel):
    _n: int = PrivateAttr(0)


class Word(Enum):
    A = "a"


class Depth(TypedDict):
    depth: int


@dataclass
class Initial:
    a: int
    twice: InitVar[int]

    def __post_init__(self, twice: int) -> None:
        self.a *= twice


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = ""


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Owner(BaseModel):
    pet: Pet
    others: list[Pet] = []


class Table(RootModel[dict[str, int]]):
    pass


class Wrapped(BaseModel):
    a: int

    @model_validator(mode="wrap")
    @classmethod
    def check(cls, value: Any, handler: Any) -> Any:
        return handler(value)


class Later(BaseModel):
    a: int

    @model_validator(mode="after")
    def add(self) -> Later:
        self.a += 1
        return self


@pydantic_dataclass
class Validated:
    x: int
    y: list[int] = Field(default_factory=list)


class Wide(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


class Fixed(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: int


class Upper(BaseModel):
    model_config = ConfigDict(alias_generator=str.upper)
    ab: int


class Path1(BaseModel):
    a: int = Field(validation_alias=AliasPath("x", "y"))


class Choice(BaseModel):
    a: int = Field(validation_alias=AliasChoices("q", "r"))


class Made(BaseModel):
    id: UUID = Field(default_factory=uuid4)


class Sparse(BaseModel):
    a: int | None = None

    @model_serializer(mode="wrap")
    def write(self, handler: Any) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Own(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    d: bytes


class Untyped(BaseModel):
    v: Any


class Bits(IntFlag):
    R = 1
    W = 2


Cents = Annotated[int, AfterValidator(lambda value: value * 100)]


class Order(BaseModel):
    price: Cents


def hidden() -> Hidden:
    value = Hidden()
    value._n = 5
    return value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Aliased, Aliased.model_validate({"max": 99, "given": "hi"})),
        (list[Aliased], [Aliased.model_validate({"max": 99})]),
        (Computed, Computed(side=3)),
        (Payload, Payload.model_validate({"data": '{"a": 1}'})),
        (datetime | str, datetime(2026, 1, 1)),
        (UUID | str, "plain"),
        (Owner, Owner(pet=Dog(name="r"), others=[Cat(), Dog()])),
        (Table, Table({"a": 1})),
        (Wrapped, Wrapped(a=1)),
        (Validated, Validated(1, [2])),
        (Wide, Wide(a=1, z=3)),  # type: ignore[call-arg]
        (Fixed, Fixed(a=1)),
        (set[Fixed], {Fixed(a=1)}),
        (Upper, Upper(AB=3)),
        (Path1, Path1.model_validate({"x": {"y": 4}})),
        (Choice, Choice.model_validate({"r": 4})),
        (Made, Made(id=UUID(int=9))),
        (Sparse, Sparse(a=None)),
        (Own, Own(d=b"\xff")),
        (Own, Own(d=b"abc")),
        (Untyped, Untyped(v=[1, {"a": None}])),
        (Bits, Bits.R | Bits.W),
        (float, -0.0),
        (float, 5e-324),
        (int, 2**53 + 1),
        (int, -(2**63)),
        (dict[int, str], {2**53 + 1: "a"}),
        (dict[float, int], {0.1: 1}),
        (dict[bool, int], {True: 1}),
        (dict[date, int], {date(2026, 1, 1): 1}),
        (dict[UUID, int], {UUID(int=3): 1}),
        (dict[Word, int], {Word.A: 1}),
        (dict[Decimal, int], {Decimal("1.10"): 1}),
        (Decimal, Decimal("1E+5")),
        (Decimal, Decimal("-0")),
        (complex, 1 + 2j),
        (datetime, datetime(1, 1, 1)),
        (timedelta, timedelta.max),
        (timedelta, timedelta(days=-1, microseconds=3)),
        (time, time(23, 59, 59, 999999, tzinfo=UTC)),
        (date | datetime, datetime(2026, 1, 1)),
        (datetime | date, date(2026, 1, 1)),
        (int | float, 1.0),
        (float | int, 1),
        (list[int | bool], [1, True]),
        (IPv4Address, IPv4Address("1.2.3.4")),
        (Path, Path("a/../b")),
        (deque[int], deque([1])),
        (frozenset[frozenset[int]], frozenset({frozenset({1})})),
        (Counter[str], Counter("aab")),
        (OrderedDict[str, int], OrderedDict(b=1, a=2)),
        (Base | Derived, Derived(name="a", url="b")),
        (Derived | Base, Base(name="a")),
        (ByteSize, ByteSize(5)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_with_a_json_form_arrives_as_it_was(annotation: Any, value: Any) -> None:
    assert difference(value, arrived(annotation, value)) is None
    parameters = taking(annotation)
    assert difference(value, parameters.load_result(plain(parameters.dump_result(value), 1_000))) is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Base, Derived(name="a", url="b")),
        (list[Base], [Derived(name="a", url="b")]),
        (Data, WiderData(1, 2)),
        (SecretStr, SecretStr("hunter2")),
        (Secretive, Secretive(pw=SecretStr("hunter2"))),
        (Secret[int], Secret[int](7)),
        (list[Secret[str]], [Secret[str]("hunter2")]),
        (Wide, Wide(a=1, z=datetime(2026, 1, 1))),  # type: ignore[call-arg]
        (Untyped, Untyped(v=(1, 2))),
        (Untyped, Untyped(v=Decimal("1.5"))),
        (Untyped, Untyped(v=Base(name="a"))),
        (list[SerializeAsAny[Base]], [Derived(name="a", url="b")]),
        (Later, Later(a=1)),
        (dict[int | str, int], {1: 1, "1": 2}),
        (dict[None, int], {None: 1}),
        (dict[Fixed, int], {Fixed(a=1): 1}),
        (datetime, datetime(2026, 10, 25, 2, 30, fold=1)),
        (datetime, datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=3601)))),
        (Literal[Word.A], Word.A),
        (Sequence[int], (1, 2)),
        (deque[int], deque([1], maxlen=3)),
        (list, [1, (2,)]),
        (dict, {1: 2}),
        (AnyUrl | str, AnyUrl("http://a.b")),
        (Excluded, Excluded(n=7)),
        (Hidden, hidden()),
        (dict[tuple[int, int], str], {(1, 2): "a"}),
        (datetime | str, "2026-01-01T00:00:00"),
        (UUID | str, "00000000-0000-0000-0000-000000000001"),
        (Path | str, "a"),
        (str | Decimal, Decimal("1.5")),
        (str | Word, Word.A),
        (bytes | str, "a"),
        (list[int] | set[int], {1}),
        (list[int] | tuple[int, ...], (1,)),
        (Depth, {"depth": 1, "more": 2}),
        (re.Pattern[str], re.compile("a", re.IGNORECASE)),
        (Order, Order(price=5)),
        (Initial, Initial(2, 2)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_that_would_change_is_refused_as_argument_and_as_result(annotation: Any, value: Any) -> None:
    parameters = taking(annotation)
    with pytest.raises(InvalidArguments, match="step 'unit': argument 'argument'") as refused:
        parameters.dump((value,), {}, given=False)
    with pytest.raises(InvalidResult, match="step 'unit'") as unkept:
        parameters.dump_result(value)
    assert "hunter2" not in f"{refused.value}{unkept.value}"


@pytest.mark.parametrize("annotation", [Iterable[int], Iterable[int] | None])
def test_an_iterable_arrives_as_a_list_that_can_be_read_twice_and_is_checked_at_the_start(annotation: Any) -> None:
    for value in ([3, 1], (3, 1), (number for number in (3, 1))):
        assert arrived(annotation, value) == [3, 1]
        parameters = taking(annotation)
        assert parameters.load_result(plain(parameters.dump_result(iter([3, 1])), 1_000)) == [3, 1]
    with pytest.raises(InvalidArguments, match="valid integer"):
        arrived(annotation, ["a"])


def test_an_iterable_inside_another_type_is_refused_with_what_to_write() -> None:
    with pytest.raises(StepDefinitionError, match=r"read only once.*write a list"):
        taking(dict[str, Iterable[int]])


def test_a_secret_is_refused_with_what_to_do() -> None:
    for annotation, value in [(SecretStr, "hunter2"), (Secretive, {"pw": "hunter2"})]:
        with pytest.raises(
            InvalidArguments, match=r"is a secret, .*pass its name and read it in the step"
        ) as failed:
            taking(annotation).dump((value,), {}, given=False)
        assert "hunter2" not in str(failed.value)


def test_a_secret_is_never_kept_masked_where_nothing_is_annotated() -> None:
    held: dict[str, Any] = {"a": [Secretive(pw=SecretStr("hunter2"))]}
    held["itself"] = held
    for value in (SecretStr("hunter2"), [Secret[int](7)], Secretive(pw=SecretStr("hunter2")), held):
        with pytest.raises(InvalidValue, match=r"is a secret|is nested deeper") as failed:
            arrived(Any, value)
        assert "hunter2" not in str(failed.value)


def test_a_validator_that_changes_a_value_changes_it_once() -> None:
    assert arrived(Cents, 5) == 500
    assert arrived(Order, {"price": 5}) == Order(price=5)
    assert arrived(Initial, {"a": 2, "twice": 2}) == Initial(2, 2)
    with pytest.raises(InvalidResult, match="come back from JSON as another value"):
        taking(Cents).dump_result(5)


def test_a_result_that_no_longer_fits_is_an_error_of_agentqs() -> None:
    with pytest.raises(InvalidResult, match=r"the result of step 'unit' does not fit .*the result.name"):
        taking(Base).load_result({"other": 1})


def test_an_error_of_a_users_validator_is_an_error_of_agentqs() -> None:
    def look_up(value: str) -> str:
        empty: dict[str, str] = {}
        return empty[value]

    with pytest.raises(InvalidArguments, match="argument 'argument' does not fit"):
        taking(Annotated[str, AfterValidator(look_up)]).dump(("x",), {}, given=False)


def test_sets_are_kept_in_one_order() -> None:
    words = [f"word{number}" for number in range(50)]
    dumped = taking(dict[str, set[str]]).dump(({"a": set(words)},), {}, given=False)
    assert dumped == ([{"a": sorted(words)}], {})


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")) | st.just("2026-01-01"),
    int: st.integers(-(2**63), 2**63 - 1),
    bool: st.booleans(),
    float: st.floats(),
    Decimal: st.decimals(),
    datetime: st.datetimes(),
    UUID: st.uuids(),
    bytes: st.binary(),
    Word: st.sampled_from(Word),
    Base: st.builds(Base, name=st.just("a")) | st.builds(Derived, name=st.just("a"), url=st.just("b")),
    Data: st.builds(Data, st.integers(0, 9)) | st.builds(WiderData, st.integers(0, 9), st.integers(0, 9)),
}


@st.composite
def annotated(draw: st.DrawFn) -> tuple[Any, Any]:
    one: Any
    other: Any
    one, other = draw(st.sampled_from(list(SCALARS))), draw(st.sampled_from(list(SCALARS)))
    items = SCALARS[one] | SCALARS[other]
    union: Any = one | other
    listed: Any = list.__class_getitem__(union)
    shapes: list[st.SearchStrategy[tuple[Any, Any]]] = [
        st.tuples(st.just(union), items),
        st.tuples(st.just(listed), st.lists(items, max_size=3)),
        st.tuples(st.just(listed | tuple.__class_getitem__((union, ...))), st.lists(items, max_size=3).map(tuple)),
        st.tuples(st.just(dict.__class_getitem__((one, union))), st.dictionaries(SCALARS[str], items, max_size=2)),
    ]
    return draw(st.one_of(shapes))


@given(annotated())
def test_any_value_arrives_as_it_is_valid_or_is_refused(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    parameters = taking(annotation)
    adapter = parameters._adapters["argument"]
    assert adapter is not None
    try:
        valid = adapter.adapter.validate_python(value)
        stored = json.dumps(plain(list(parameters.dump((value,), {}, given=False)), 1_000_000))
    except ValueError:
        return  # pydantic's own, of the line that asks it
    except InvalidValue:
        return
    args, kwargs = json.loads(stored)
    back = parameters.load(args, kwargs, None)[0][0]
    assert difference(valid, back) is None
