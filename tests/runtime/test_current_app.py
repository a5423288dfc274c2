"""``agentq.start`` finds the app, in whichever thread of a program it is called."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery, _state

from agentq import AgentQ


@pytest.fixture(autouse=True)
def no_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Celery as it is before a program has made an app."""
    before = _state._tls.current_app
    monkeypatch.setattr(_state, "default_app", None)
    _state._set_current_app(None)
    yield
    _state._set_current_app(before)


def found_in_a_thread() -> Celery:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: _state.current_app._get_current_object()).result()


def test_a_thread_finds_the_app_of_the_program() -> None:
    app = Celery("program")
    AgentQ(app)
    assert found_in_a_thread() is app


def test_the_default_that_a_program_chose_stays() -> None:
    chosen, other = Celery("chosen"), Celery("other")
    chosen.set_default()
    AgentQ(other)
    assert found_in_a_thread() is chosen


def test_an_app_that_is_not_to_be_the_current_one_is_not_the_default() -> None:
    app = Celery("apart", set_as_current=False)
    AgentQ(app)
    assert found_in_a_thread() is not app
