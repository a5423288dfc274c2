"""The boundary to JSON text: a value comes back equal, or it is refused; the same on every ledger."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentq.exceptions import InvalidValue, ValueTooLarge
from agentq.steps.values.encoding import MAX_DEPTH, encode, plain
from tests.support.faults import Fault, Phase, covers

LIMIT = 1_000_000
STORABLE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STORABLE_TEXT
)
STORABLE = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(STORABLE_TEXT, inner))
ANY_TEXT = st.text(st.characters())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(ANY_TEXT | st.integers() | st.none() | st.floats(), inner)
        | st.tuples(inner)
        | st.sets(st.integers())
    ),
)


@given(STORABLE)
@example({"": [1, 1.0, -0.0, True, "", {}, []]})
@example("1234567890123456789012345")
@example(2**63 - 1)
@example(-(2**63))
@example("\\u0000")
def test_json_comes_back_equal(value: Any) -> None:
    back = plain(value, LIMIT)
    assert back == value
    assert repr(back) == repr(value)


@covers(Fault.BAD_VALUE, Phase.START)
@given(ANYTHING)
def test_anything_comes_back_as_json_or_is_refused(value: Any) -> None:
    try:
        text = encode(value, LIMIT)
    except InvalidValue:
        return
    assert "\x00" not in text
    text.encode()
    back = json.loads(text, parse_constant=pytest.fail)
    assert encode(back, LIMIT) == text
    assert all(-(2**63) <= number < 2**63 for number in integers(back))
    assert not any("\x00" in part for part in texts(back))


def integers(value: Any) -> list[int]:
    return [part for part in parts(value) if isinstance(part, int)]


def texts(value: Any) -> list[str]:
    return [part for part in parts(value) if isinstance(part, str)]


def parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for item in value.items() for inner in item for part in parts(inner)]
    if isinstance(value, list):
        return [part for inner in value for part in parts(inner)]
    return [value]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, r"at the top is nan, which JSON does not have"),
        ({"a": [1, math.inf]}, r"at a\[1\] is inf"),
        ({"a": {"b": -math.inf}}, r"at a\.b is -inf"),
        (2**63, "at the top is an integer beyond 64 bits; send it as text"),
        ([-(2**63) - 1], r"at \[0\] is an integer beyond 64 bits"),
        ({"k": "a\x00b"}, "at k has a NUL character"),
        ({"a\x00": 1}, r"\(a key\) has a NUL character"),
        (["\ud800"], r"at \[0\] has a lone surrogate"),
        ({"\udfff": 1}, "has a lone surrogate"),
        ({"a": {1, 2}}, "at a is of type set, which has no JSON form"),
        ([frozenset()], "is of type frozenset"),
        (b"abc", "is of type bytes"),
        ([bytearray(b"a")], "is of type bytearray"),
        ({"deep": object()}, "at deep is of type object"),
        ({(1, 2): 3}, "the value at"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_value_that_cannot_be_stored_is_an_error_with_its_path(value: Any, expected: str) -> None:
    with pytest.raises(InvalidValue, match=expected):
        encode(value, LIMIT)


def nested(levels: int, value: Any = 1) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_bounded() -> None:
    assert plain(nested(MAX_DEPTH), LIMIT) == nested(MAX_DEPTH)
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidValue, match=f"deeper than {MAX_DEPTH} levels"):
            encode(nested(levels), LIMIT)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidValue):
        encode(value, LIMIT)


def test_size_is_bounded_in_bytes() -> None:
    assert encode("é" * 49, 100) == f'"{"é" * 49}"'
    with pytest.raises(
        ValueTooLarge, match=r"is 102 bytes of JSON, over the limit of 100.*agentq_max_value_bytes"
    ):
        encode("é" * 50, 100)


def test_wide_values_are_no_deep_values() -> None:
    value = [{"a": [index]} for index in range(1000)]
    assert plain(value, LIMIT) == value


class Model(BaseModel):
    when: datetime


@dataclass
class Data:
    id: UUID


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, 2), [1, 2]),
        (Model(when=datetime(2026, 1, 2, tzinfo=UTC)), {"when": "2026-01-02T00:00:00Z"}),
        ({"d": Data(UUID(int=1))}, {"d": {"id": "00000000-0000-0000-0000-000000000001"}}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
    ids=["tuple", "model", "dataclass", "datetime"],
)
def test_known_types_become_their_json_form(value: Any, back: Any) -> None:
    assert plain(value, LIMIT) == back


class Secretive(BaseModel):
    number: float
    password: str


def test_an_error_does_not_show_the_value() -> None:
    for value in ({"password": "hunter2", "n": math.nan}, {"password": "hunter2\x00"}, ["hunter2\ud800"]):
        with pytest.raises(InvalidValue) as error:
            encode(value, LIMIT)
        assert "hunter2" not in str(error.value)
    with pytest.raises(InvalidValue) as error:
        encode(Secretive(number=math.nan, password="hunter2"), LIMIT)
    assert "hunter2" not in str(error.value)
