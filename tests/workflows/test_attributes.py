"""Attributes beside a value's fields: each arrives, is derived by its class again, or is refused by its name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, RootModel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from agentq.exceptions import InvalidArguments, InvalidResult
from tests.workflows.boundary import arrived, taking


@dataclass
class Data:
    number: int
    sizes: ClassVar[int] = 1

    @cached_property
    def twice(self) -> int:
        return self.number * 2


@dataclass(slots=True)
class Slotted:
    number: int


@dataclass
class Child(Slotted):
    word: str = ""


@dataclass
class Made:
    number: int
    others: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.half = self.number / 2
        self.lock = threading.Lock()


@pydantic_dataclass(config=ConfigDict(extra="allow"))
class Wide:
    number: int


class Model(BaseModel):
    number: int

    @cached_property
    def twice(self) -> int:
        return self.number * 2


class Numbers(RootModel[list[int]]):
    pass


class Pair(NamedTuple):
    number: int
    word: str = ""


class Named(Pair):
    pass


def _with(value: Any, **attributes: Any) -> Any:
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)
    return value


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Data, _with(Data(1), extra=1), "extra"),
        (list[Data], [Data(1), _with(Data(2), extra=None)], "1.extra"),
        (dict[str, Data | None], {"a": _with(Data(1), extra=1)}, "'a'.extra"),
        (Data, _with(Data(1), sizes=2), "sizes"),
        (Child, _with(Child(1), extra=1), "extra"),
        (Made, _with(Made(1), extra=1), "extra"),
        (Made, _with(Made(1), half=4.0), "half"),
        (Wide, Wide(number=1, extra=2), "extra"),  # type: ignore[call-arg]
        (Model, _with(Model(number=1), extra=1), "extra"),
        (Numbers, _with(Numbers([1]), extra=1), "extra"),
        (Named, _with(Named(1), extra=1), "extra"),
        (Pair, Named(1), "what Named adds to Pair in it"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_attribute_that_would_be_lost_is_refused_by_its_name(annotation: Any, value: Any, path: str) -> None:
    parameters = taking(annotation)
    with pytest.raises(InvalidArguments, match=rf"argument 'argument' cannot be kept: .*{path} would "):
        parameters.dump((value,), {}, given=False)
    with pytest.raises(InvalidResult, match=rf"{path} would "):
        parameters.dump_result(value)


@pytest.mark.parametrize("make", [lambda: Data(3), lambda: Model(number=3)], ids=["dataclass", "model"])
def test_a_property_of_a_class_is_no_reason_to_refuse(make: Callable[[], Any]) -> None:
    value = make()
    assert value.twice == 6
    back = arrived(type(value), value)
    assert back == value
    assert back.twice == 6


def test_an_attribute_made_of_fields_is_made_again() -> None:
    back = arrived(Made, Made(3, [1]))
    assert (back.number, back.others, back.half) == (3, [1], 1.5)
    assert back.lock.acquire(blocking=False)


@pytest.mark.parametrize("value", [Slotted(1), Child(1, "a"), Data(1), Model(number=1), Pair(1, "a")])
def test_a_value_that_holds_its_fields_only_arrives(value: Any) -> None:
    assert arrived(type(value), value) == value
