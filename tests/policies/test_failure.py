"""A failure as it is kept: bounded, storable, without secrets, locals or engine frames."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import celery
import httpx
import pytest

import agentq
from agentq.policies import Category, failure_of, trimmed_traceback
from agentq.redaction import MASK


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def compiled(path: str, source: str) -> ModuleType:
    """Return a module whose code says that it is from *path*."""
    module = ModuleType("compiled")
    exec(compile(source, path, "exec"), module.__dict__)
    return module


CALLER = "def call(function):\n    return function()\n"
ENGINES = [
    str(Path(celery.__file__).parent / "app" / "trace.py"),
    str(Path(agentq.__file__).parent / "runtime" / "attempt" / "attempt.py"),
    str(Path(agentq.__file__).parent / "steps" / "parameters.py"),
]


def fails() -> None:
    secret = "hunter2-in-a-local"
    raise RuntimeError(f"no summary ({len(secret)})")


def test_the_frames_of_the_engine_are_left_out() -> None:
    function: Callable[[], object] = fails
    for path in ENGINES:
        call = compiled(path, CALLER).call
        function = lambda call=call, inner=function: call(inner)  # noqa: E731
    text = trimmed_traceback(raised(function))
    assert "in fails" in text
    assert "raise RuntimeError" in text
    assert not [path for path in ENGINES if path in text]


def test_the_user_s_own_code_that_is_named_like_the_engine_stays() -> None:
    call = compiled("/srv/celery/tasks.py", CALLER).call
    assert "/srv/celery/tasks.py" in trimmed_traceback(raised(lambda: call(fails)))


def test_the_last_frames_of_the_raising_library_stay() -> None:
    text = trimmed_traceback(raised(lambda: json.loads("{")))
    assert "JSONDecoder.raw_decode" in text
    assert text.count("lib/python") == 3
    assert "<lambda>" in text
    deep = trimmed_traceback(raised(lambda: httpx.Client(transport=Refuses()).get("http://x")))
    assert "handle_request" in deep
    assert "site-packages" not in deep, "a frame that only passed the call on says nothing"


class Refuses(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return (_ for _ in ()).throw(httpx.ConnectError("refused"))


def test_an_error_of_the_engine_itself_keeps_its_last_frames() -> None:
    error = raised(compiled(ENGINES[1], "def run():\n    raise ValueError('no')\n").run)
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    assert "in run" in trimmed_traceback(error)


def test_local_variables_are_not_kept() -> None:
    assert "hunter2-in-a-local" not in str(failure_of(raised(fails)))


def test_secrets_in_the_source_and_in_causes_are_masked() -> None:
    def call() -> None:
        api_key = "sk-" + "b" * 40
        try:
            raise KeyError(f"api_key={api_key}")
        except KeyError as error:
            raise RuntimeError("password=hunter2") from error

    failure = failure_of(raised(call))
    assert "from KeyError: " in failure.traceback
    assert "b" * 40 not in f"{failure}"
    assert failure.message == f"password={MASK}"


def test_a_deep_recursion_is_bounded() -> None:
    def deeper(n: int) -> None:
        deeper(n + 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        failure = failure_of(raised(lambda: deeper(0)))
    finally:
        sys.setrecursionlimit(limit)
    assert failure.error_class == "RecursionError"
    assert failure.traceback.count("in test_a_deep") <= 30
    assert "more …" in failure.traceback


def test_an_error_that_was_never_raised_has_no_traceback() -> None:
    assert failure_of(ValueError("no")).traceback == ""


def test_a_failure_keeps_the_providers_answer() -> None:
    request = httpx.Request("POST", "http://provider")
    headers = {"retry-after": "4", "x-request-id": "req_4"}
    response = httpx.Response(429, headers=headers, request=request)
    failure = failure_of(raised(response.raise_for_status))
    assert (failure.category, failure.error_class) == (Category.RATE_LIMIT.value, "httpx.HTTPStatusError")
    assert (failure.provider, failure.status, failure.request_id) == ("httpx", 429, "req_4")
    assert failure.code is None
    assert type(failure.category) is str


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a" * 50_000_000])
def test_any_text_can_be_stored(text: str) -> None:
    failure = failure_of(raised(lambda: [][int(text)] if text.isdigit() else (_ for _ in ()).throw(OSError(text))))
    f"{failure}".encode()
    assert len(failure.message) <= 4_000
    assert "\x00" not in f"{failure}"
