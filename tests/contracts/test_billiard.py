"""billiard's insides that agentq leans on: each test fails when they change, and says who leans on them."""

from __future__ import annotations

import inspect
import signal
from typing import Any
from unittest.mock import Mock

import pytest
from billiard import common, popen_fork
from billiard import pool as billiard_pool
from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
from billiard.process import current_process


def test_a_process_is_ended_by_the_signal_that_its_module_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """agentq/runtime/bridge/pool_signals.py names another one."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(popen_fork, "TERM_SIGNAL", signal.SIGQUIT)
    monkeypatch.setattr(popen_fork.os, "kill", lambda pid, number: sent.append((pid, number)))
    process = Mock(returncode=None, pid=4711)
    popen_fork.Popen.terminate(process)
    assert sent == [(4711, signal.SIGQUIT)]


def test_a_job_is_ended_by_the_signal_that_the_pools_module_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """agentq/runtime/bridge/pool_signals.py names another one, and translates the one that a revoke names."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(billiard_pool, "TERM_SIGNAL", signal.SIGQUIT)
    monkeypatch.setattr(billiard_pool, "_kill", lambda pid, number: sent.append((pid, number)))
    pool = Mock(_process_by_pid=lambda pid: (Mock(), 0))
    billiard_pool.Pool.terminate_job(pool, 4711)
    billiard_pool.Pool.terminate_job(pool, 4711, signal.SIGKILL)
    assert sent == [(4711, signal.SIGQUIT), (4711, signal.SIGKILL)]


@pytest.mark.parametrize("full", [False, True])
def test_a_pools_process_handles_the_signals_that_are_in_two_sets(
    full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """agentq/runtime/bridge/pool_signals.py takes SIGTERM out of both, and sets a handler of its own."""
    handled: set[int] = set()
    monkeypatch.setattr(common, "maybe_setsignal", lambda number, handler: handled.add(number))
    monkeypatch.setattr(common, "_should_override_term_signal", lambda name, current: True)
    signals = common.TERMSIGS_FULL if full else common.TERMSIGS_DEFAULT
    if not common.REMAP_SIGTERM:
        assert "SIGTERM" in signals
    without = signals - {"SIGTERM"}
    monkeypatch.setattr(common, "TERMSIGS_FULL" if full else "TERMSIGS_DEFAULT", without)
    common.reset_signals(full=full)
    assert signal.SIGTERM not in handled
    assert signal.SIGUSR1 in handled


def test_the_handler_of_a_pools_process_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """agentq/runtime/bridge/pool_signals.py calls it in processes that a step forked."""
    monkeypatch.setattr(common, "maybe_setsignal", lambda number, handler: None)
    monkeypatch.setattr(common, "_should_have_exited", [False])
    assert list(inspect.signature(common._shutdown_cleanup).parameters) == ["signum", "frame"]
    with pytest.raises(SystemExit) as raised:
        common._shutdown_cleanup(signal.SIGTERM, None)
    assert raised.value.code == signal.SIGTERM - 256


def test_the_main_process_has_a_name_of_its_own() -> None:
    """agentq/runtime/log/outage.py: only the main process logs an outage."""
    assert current_process().name == "MainProcess"


def test_an_error_is_handed_to_celery_with_its_traceback() -> None:
    """agentq/runtime/bridge/asyncio_pool.py makes it as billiard's pool does."""
    try:
        raise ValueError("no")
    except ValueError as error:
        info = ExceptionInfo((type(error), error, error.__traceback__))
    wrapped: Any = info.exception
    assert isinstance(getattr(wrapped, "exc", wrapped), ValueError)
    assert "ValueError: no" in info.traceback


def test_the_ends_of_a_process_have_these_names() -> None:
    """agentq/runtime/entry/request.py knows them by name, since they come from another process."""
    assert [kind.__name__ for kind in (TimeLimitExceeded, WorkerLostError, Terminated)] == [
        *("TimeLimitExceeded", "WorkerLostError", "Terminated")
    ]
    assert issubclass(SoftTimeLimitExceeded, Exception)
