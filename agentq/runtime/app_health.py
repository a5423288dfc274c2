"""The checks of ``agentq check`` on a Celery app: settings, broker, and the queues that workers consume."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from celery import Celery

from agentq.exceptions import AgentqError, ConfigurationError, StepDefinitionError
from agentq.ledger.db.session import Ledger
from agentq.operations import health, queues
from agentq.operations.health import Finding
from agentq.policies.limits import over_burst
from agentq.runtime.bridge import configuration
from agentq.runtime.dispatch.broker_state import address_of, refusal
from agentq.runtime.engine import Engine
from agentq.steps import registry

_WAIT_TIMEOUT = 2.0
"""Seconds for the broker to answer, and for the workers after it."""


def examine(engine: Engine, ledger: Ledger | None) -> Iterator[Finding]:
    """Check an app; *ledger* is asked which queues have jobs, None where it cannot be."""
    try:
        queues = engine.catalogue.step_queues()  # imports the steps, whose limits the settings must fit
    except StepDefinitionError as failure:
        yield health.error("steps", str(failure))
        return
    yield from _settings(engine.app)
    yield from _limits_file(engine)
    yield from _limits(engine)
    broken = _broker_fault(engine.app)
    if broken is not None:
        yield broken
        return
    needed = {*queues, *_backlog(ledger)}
    with engine.app.connection_for_read() as connection:
        yield health.ok("broker", f"{address_of(connection)} answers")
        yield from _refused(engine.app, connection, sorted(needed | {engine.settings.dead_letter_queue}))
    yield from _consumers(engine.app, needed)


def why_refused(engine: Engine, queue: str) -> str | None:
    """Return why the broker refuses a queue; None where it does not, or does not answer soon."""
    try:
        with engine.app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=_WAIT_TIMEOUT)
            return refusal(connection, engine.app.amqp.queues, queue)
    except Exception:  # each transport raises its own; agentq check reports it
        return None


def _settings(app: Celery) -> Iterator[Finding]:
    problems = configuration.problems(app)
    for problem in problems:
        make = health.error if problem.is_error else health.warning
        yield make("celery", problem.what, problem.fix)
    if not problems:
        yield health.ok("celery", "the app's settings fit")


def _limits_file(engine: Engine) -> Iterator[Finding]:
    try:
        engine.limits_file.require_known(engine.declared_limits())
    except ConfigurationError as failure:
        yield health.error("limits", str(failure))
        return
    if engine.limits_file.path is not None:
        yield health.ok("limits", f"{engine.limits_file.path} has {len(engine.limits_file.names)} limit(s)")


def _limits(engine: Engine) -> Iterator[Finding]:
    for step in registry.all_steps():
        parameters = inspect.signature(step.function).parameters.values()
        defaults = {parameter.name: parameter.default for parameter in parameters}
        for limit, tokens in over_burst((*engine.limits, *step.limits), defaults):
            yield health.warning(
                "limits",
                f"step {step.name!r} is expected to use {tokens} tokens of limit {limit.name!r}, which lets "
                f"{limit.at_once} be used at once: each waits until no other has used any, and others wait for it",
                f"give Tokens({limit.name!r}, …) a burst of {tokens} or more, or a smaller estimate",
            )


def _broker_fault(app: Celery) -> Finding | None:
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=_WAIT_TIMEOUT)
    except Exception as failure:  # each transport raises its own
        return health.error(
            "broker",
            f"cannot be reached: {type(failure).__name__}: {failure}",
            "is it up, and the app's broker_url right?",
        )
    return None


def _refused(app: Celery, connection: Any, needed: list[str]) -> Iterator[Finding]:
    for queue in needed:
        try:
            why = refusal(connection, app.amqp.queues, queue)
        except Exception as failure:  # each transport raises its own
            what = f"answers, and takes no messages: {type(failure).__name__}: {failure}"
            yield health.error("broker", what, "workers wait for it; see its own log")
            return
        if why is not None:
            what, _, fix = why.partition("; ")
            yield health.error("queues", what, fix)


def _backlog(ledger: Ledger | None) -> set[str]:
    try:
        return set() if ledger is None else {queue.name for queue in queues.list_(ledger)}
    except AgentqError:  # reported before, by the checks of the ledger
        return set()


def _consumers(app: Celery, needed: set[str]) -> Iterator[Finding]:
    answers = app.control.inspect(timeout=_WAIT_TIMEOUT).active_queues() or {}
    if not answers:
        yield health.warning("queues", "no worker answers on the broker", "start one: agentq up -A MODULE")
        return
    consumed = {queue["name"] for queues in answers.values() for queue in queues or ()}
    for queue in sorted(needed - consumed):
        yield health.warning(
            "queues",
            f"no worker that answers consumes queue {queue!r}, so its jobs wait",
            f"start one: celery -A MODULE worker -Q {queue}",
        )
    if needed <= consumed:
        yield health.ok("queues", f"{len(answers)} worker(s) consume {', '.join(sorted(needed or consumed))}")
