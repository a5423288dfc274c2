"""Bytes at the boundary: what is text is kept as that text, all other bytes in base64, and both arrive."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import AfterValidator, BaseModel, Field

from agentq.exceptions import InvalidArguments
from agentq.steps.values.encoding import plain
from agentq.steps.values.same import difference
from tests.workflows.boundary import arrived, taking


class Scan(BaseModel):
    title: str = ""
    image: bytes = Field(b"", max_length=9)
    pages: list[bytes] = []


@dataclass(frozen=True)
class Frame:
    data: bytes
    at: datetime | None = None


class Tile(NamedTuple):
    data: bytes
    number: int


PICTURE = b"\x89PNG\r\n\x1a\n\xff"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (bytes, PICTURE),
        (bytes, b"\x00"),
        (bytes, b"agentq-base64:eA=="),
        (bytes | None, PICTURE),
        (list[bytes], [b"text", PICTURE]),
        (dict[bytes, bytes], {PICTURE: PICTURE}),
        (set[bytes], {PICTURE}),
        (tuple[bytes, int], (PICTURE, 1)),
        (bytes | str, PICTURE),
        (bytes | str, b"text"),
        (str | bytes, b"text"),
        (str | bytes, "text"),
        (Scan, Scan(title="ü", image=PICTURE, pages=[PICTURE])),
        (list[Scan | None], [Scan(image=PICTURE), None]),
        (Frame, Frame(PICTURE, datetime(2026, 1, 1))),
        (Tile, Tile(PICTURE, 1)),
        (deque[bytes], deque([PICTURE])),
        (Annotated[bytes, AfterValidator(lambda value: value if value[:1] != b"a" else b"")], PICTURE),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bytes_that_are_no_text_arrive_as_they_were(annotation: Any, value: Any) -> None:
    assert difference(value, arrived(annotation, value)) is None
    parameters = taking(annotation)
    kept = json.loads(json.dumps(plain(parameters.dump_result(value), 1_000)))
    assert difference(value, parameters.load_result(kept)) is None


def test_bytes_that_are_text_are_kept_as_that_text_as_before() -> None:
    assert taking(list[bytes]).dump_result([b"abc", "ü".encode()]) == ["abc", "ü"]


def test_a_text_like_stored_bytes_stays_text() -> None:
    text = "agentq-base64:eA=="
    assert arrived(str, text) == text
    with pytest.raises(InvalidArguments, match="at title would come back from JSON as another value"):
        taking(Scan).dump((Scan(title=text, image=PICTURE),), {}, given=False)
