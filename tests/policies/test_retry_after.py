"""The time for the next try, as providers write it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentq.policies import describe
from tests.policies.cases import NOW, date


class Failed(Exception):
    """An error of an SDK, with what it keeps of the answer."""

    def __init__(self, status: int = 429, text: str = "", **kept: Any) -> None:
        super().__init__(text)
        self.status_code = status
        self.__dict__.update(kept)


def retry_after_of(status: int = 429, text: str = "", **kept: Any) -> float | None:
    return describe(Failed(status, text, **kept), now=NOW).retry_after


HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({"Retry-After": "12"}, 12),
    ({"RETRY-AFTER": " 1.5 "}, 1.5),
    ({"retry-after": "0"}, 0),
    ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
    ({"retry-after-ms": "x", "retry-after": "1"}, 1),
    ({"x-amz-retry-after": "1500"}, 1.5),
    ({"retry-after": date(90)}, 90),
    ({"retry-after": date(90), "date": date(80)}, 10),
    ({"retry-after": date(-90)}, 0),
    ({"retry-after": "Sunday, 15-Nov-26 11:06:40 GMT"}, 0),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "1e400"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "1e300"}, 366 * 86_400),
    ({"x-ratelimit-reset-requests": "1m0.5s"}, 60.5),
    ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "300ms"}, 1),
    (
        {
            "x-ratelimit-reset-requests": "9s",
            "x-ratelimit-reset-tokens": "2s",
            "x-ratelimit-remaining-tokens": "0",
        },
        2,
    ),
    ({"x-ratelimit-reset": str(int(NOW) + 8)}, 8),
    ({"x-ratelimit-reset": str((int(NOW) + 8) * 1000)}, 8),
    ({"x-ratelimit-reset": str(int(NOW) - 8)}, 0),
    ({"ratelimit-reset": "7"}, 7),
    ({"anthropic-ratelimit-tokens-reset": "2026-11-18T11:07:20+00:00"}, None),
    ({"x-ratelimit-limit-requests": "50"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS, ids=[str(n) for n in range(len(HEADERS))])
def test_headers(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after_of(headers=headers)
    if "anthropic-ratelimit-tokens-reset" in headers:
        assert found is not None
    else:
        assert found == (None if seconds is None else pytest.approx(seconds))


def test_the_headers_of_an_answer_may_be_pairs() -> None:
    assert retry_after_of(headers=[("Content-Type", "text/html"), ("Retry-After", "3")]) == 3


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("12s", 12),
        ("0.250s", 0.25),
        ("1m30s", 90),
        ({"seconds": 3, "nanos": 500_000_000}, 3.5),
        ("", None),
        ("soon", None),
        (12, None),
        (None, None),
    ],
)
def test_google_s_retry_info(delay: object, seconds: float | None) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    assert retry_after_of(details={"error": {"code": 429, "details": [{}, detail]}}) == seconds
    assert retry_after_of(body={"details": [detail]}) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 6m0s. Visit", 360),
        ("please retry in 26.6s", 26.6),
        ("Try again in 350ms.", 0.35),
        ("Please retry after 2 minutes 5 seconds", 125),
        ("try again in 1h", 3600),
        ("Try again in a moment", None),
        ("retry in 5 moons", None),
        ("Too many requests", None),
    ],
)
def test_a_sentence_gives_the_time_where_nothing_else_does(text: str, seconds: float | None) -> None:
    assert retry_after_of(text=text) == (None if seconds is None else pytest.approx(seconds))
    assert retry_after_of(text=text, headers={"Retry-After": "4"}) == 4


def test_resets_and_sentences_count_for_rate_limits_only() -> None:
    assert retry_after_of(500, "try again in 20s", headers={"x-ratelimit-reset-requests": "9s"}) is None
    assert retry_after_of(500, headers={"retry-after": "9"}) == 9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5), (2.5, 2.5), ("3", 3), (timedelta(minutes=1), 60), (True, None), (-1, None), (float("inf"), None)],
)
def test_a_time_parsed_by_another_library_counts(value: object, seconds: float | None) -> None:
    assert retry_after_of(retry_after=value) == seconds


@given(st.text(max_size=60))
def test_any_header_is_read(text: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset-tokens", "date"):
        found = retry_after_of(headers={name: text, "retry-after": text})
        assert found is None or 0 <= found <= 366 * 86_400
