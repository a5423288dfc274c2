"""Describing an exception: causes, groups, and exceptions that mean harm."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentq.policies import Category, ErrorFacts, describe, failure_of
from agentq.redaction import MASK

C = Category


def limited(retry_after: str = "5") -> openai.RateLimitError:
    request = httpx.Request("POST", "http://provider")
    response: Any = httpx.Response(
        429, headers={"retry-after": retry_after, "x-request-id": "req_7"}, request=request
    )
    return openai.RateLimitError("slow down", response=response, body={"code": "rate_limit_exceeded"})


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def test_an_error_without_facts_is_its_cause() -> None:
    facts = describe(caused(RuntimeError("no summary"), limited()))
    assert (facts.category, facts.retry_after, facts.provider) == (C.RATE_LIMIT, 5, "openai")
    assert (facts.status, facts.code, facts.request_id) == (429, "rate_limit_exceeded", "req_7")
    assert (facts.error_class, facts.message) == ("RuntimeError", "no summary")
    assert "openai.RateLimitError" in facts.names


def test_an_error_with_facts_is_not_its_cause() -> None:
    facts = describe(caused(ValueError("no summary"), limited()))
    assert facts.category is C.INVALID_INPUT
    assert "openai.RateLimitError" not in facts.names


def test_an_error_during_handling_is_not_the_cause() -> None:
    error = RuntimeError("clean-up failed")
    error.__context__ = limited()
    assert describe(error).category is C.ERROR


def test_a_group_is_what_can_never_come_right_in_it() -> None:
    group = ExceptionGroup("both", [limited(), ExceptionGroup("inner", [ValueError("no")])])
    assert describe(group).category is C.INVALID_INPUT
    assert "ValueError: no" in describe(group).message


def test_a_group_waits_for_the_longest_pause_asked() -> None:
    facts = describe(ExceptionGroup("all", [limited("5"), RuntimeError("no"), limited("50"), limited("7")]))
    assert (facts.category, facts.retry_after, facts.error_class) == (C.RATE_LIMIT, 50, "ExceptionGroup")


def test_one_fallback_model_that_may_recover_is_enough() -> None:
    kind = type("FallbackExceptionGroup", (ExceptionGroup,), {"__module__": "pydantic_ai.exceptions"})
    facts = describe(kind("all", [PermissionError("no"), limited("5")]))
    assert (facts.category, facts.retry_after) == (C.RATE_LIMIT, 5)


class Raises:
    """Every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Lies(Exception):
    """Every attribute that is not there is something else than it should be."""

    def __getattr__(self, name: str) -> Any:
        return {"status_code": "429", "code": ["x"], "headers": 5, "body": object, "details": [[]]}.get(name, 1.5)


class Hostile(Exception):
    response = property(lambda self: 1 / 0)
    body = property(lambda self: 1 / 0)
    code = property(lambda self: 1 / 0)
    __cause__ = property(lambda self: 1 / 0)
    __traceback__ = property(lambda self: 1 / 0)

    def __str__(self) -> str:
        raise BufferError


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Texts(str):
    """A string that does not behave like one."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError

    __getitem__ = __len__ = __hash__ = __eq__ = lower = strip = split = _raise  # type: ignore[assignment]


class OddText(Exception):
    code = Texts("x")
    request_id = Texts("y")

    def __str__(self) -> str:
        return Texts("z")


class Nameless(type):
    __module__ = property(lambda cls: 1 / 0)


class OddClass(Exception, metaclass=Nameless):
    pass


class Endless:
    def items(self) -> Any:
        while True:
            yield "retry-after-not", "1"


def holding(text: str = "no", /, **attributes: Any) -> Exception:
    error = Exception(text)
    error.__dict__.update(attributes)
    return error


def in_a_circle() -> BaseException:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    return first


def in_a_long_chain() -> BaseException:
    error: BaseException = ValueError("at the bottom")
    for number in range(20_000):
        error = caused(RuntimeError(str(number)), error)
    return error


def in_deep_groups() -> BaseException:
    error: Exception = ValueError("at the bottom")
    for _ in range(500):
        error = ExceptionGroup("deeper", [error])
    return error


HUGE = "x" * 50_000_000
MEAN: dict[str, Any] = {
    "raises": Hostile,
    "lies": Lies,
    "no text": NoText,
    "odd text": OddText,
    "odd class": OddClass,
    "raises deeper": lambda: holding(response=Raises(), body=Raises(), code=Raises(), retry_after=Raises()),
    "endless headers": lambda: holding(response=holding(headers=Endless()), headers=Endless()),
    "circle": in_a_circle,
    "long chain": in_a_long_chain,
    "deep groups": in_deep_groups,
    "wide group": lambda: ExceptionGroup("wide", [RuntimeError(str(n)) for n in range(50_000)]),
    "huge text": lambda: RuntimeError(HUGE),
    "huge body": lambda: holding(body=HUGE, response=holding(_content=HUGE.encode())),
    "huge JSON": lambda: holding(body='{"error": "' + HUGE + '"}', status_code=500),
    "deep JSON": lambda: holding(body="[" * 60_000, status_code=400),
    "huge list": lambda: holding(body={"error": {"details": [{}] * 1_000_000}}, status_code=429),
    "huge headers": lambda: holding(headers={"retry-after": HUGE, "x-request-id": HUGE}, status_code=429),
    "huge codes": lambda: holding(code=HUGE, type=HUGE, status_code=400),
    "huge numbers": lambda: holding(status_code=10**400, retry_after=10**400),
    "odd numbers": lambda: holding(status_code=True, retry_after=float("nan"), code=-1),
    "digits upon digits": lambda: holding("try again in " + "9" * 50_000, status_code=429),
    "blanks upon blanks": lambda: holding("try again in 1 " + " " * 100_000, status_code=429),
}


@pytest.mark.parametrize("name", MEAN)
def test_no_exception_makes_it_raise_or_take_long(name: str) -> None:
    error = MEAN[name]()
    began = time.process_time()
    facts, failure = describe(error), failure_of(error)
    assert time.process_time() - began < 1.0
    for text in (facts.message, facts.error_class, facts.code or "", facts.request_id or "", *facts.names):
        assert len(text) <= 4_000
    assert isinstance(facts.category, Category)
    assert facts.retry_after is None or facts.retry_after >= 0
    assert len(failure.traceback) <= 16_000


def test_a_text_that_cannot_be_had_is_said_so() -> None:
    assert describe(Hostile()).message == "<its text cannot be shown: __str__ raises BufferError>"
    assert describe(NoText()).message == "<its text cannot be shown: __str__ raises TypeError>"


def test_texts_are_storable_and_show_no_secrets() -> None:
    key = "sk-" + "a" * 40
    facts = describe(holding(f"key {key} \x00 \udfff", code=key, request_id="a\x00\ud800"))
    assert key not in f"{facts}"
    assert (facts.code, facts.request_id, facts.message) == (MASK, "a\ufffd?", f"key {MASK} \ufffd ?")


@pytest.mark.parametrize("left_by", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_from_an_attribute_leaves_the_error_described(left_by: type[BaseException]) -> None:
    def raise_it(self: object) -> None:
        raise left_by

    assert describe(type("Leaves", (Exception,), {"body": property(raise_it)})("words")).message == "words"


def test_only_the_stop_of_the_pool_s_process_goes_through() -> None:
    def raise_it(self: object) -> None:
        raise SystemExit(signal.SIGTERM - 256)

    with pytest.raises(SystemExit):
        describe(type("Stops", (Exception,), {"body": property(raise_it)})())


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
    | st.sampled_from(["429", 429, 503, "12s", {"retryDelay": "1s"}, object()]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "code", "details", "retryDelay", "retry-after", "Error", "violations"]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
NAMES = ["status_code", "status", "code", "type", "body", "details", "headers", "response", "retry_after",
         "request_id", "llm_provider", "error_code", "_content", "exceptions"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=5), st.text(max_size=30))
def test_any_exception_is_described(attributes: dict[str, Any], text: str) -> None:
    facts = describe(holding(text, **attributes))
    assert isinstance(facts, ErrorFacts)
    assert facts.status is None or 100 <= facts.status < 600
    assert facts.retry_after is None or 0 <= facts.retry_after < 10**8
    f"{facts}".encode()


def test_no_provider_is_imported() -> None:
    code = "import sys, agentq.policies; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages = {module.partition(".")[0] for module in loaded.split()}
    unwanted = {"openai", "anthropic", "google", "botocore", "httpx", "httpx2", "requests", "celery", "sqlalchemy"}
    assert not packages & unwanted
