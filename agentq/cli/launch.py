"""Begin one of Celery's workers, in place of this process, so that signals reach the worker itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from agentq.cli.target import Target
from agentq.exceptions import ConfigurationError
from agentq.runtime.app import AgentQ
from agentq.runtime.bridge import configuration

_CANNOT_STOP = ("threads", "solo")
"""Pools whose steps end by themselves; Celery's soft shutdown of them ends in a traceback."""


def usable(target: Target, command: str) -> AgentQ:
    """Return the app's ``AgentQ``.

    Raises ConfigurationError where a worker of the app would refuse to begin: reported here, it is not lost among
    the lines of a log. *command* is what was typed, for what it says.
    """
    if target.ledger_url is not None:
        raise ConfigurationError("a worker's ledger is the one of its app; set AGENTQ_LEDGER instead of --ledger")
    if target.agentq is None:
        raise ConfigurationError(f"name the Celery app whose steps are to run: {command} -A MODULE")
    configuration.require_usable(target.agentq.app)
    return target.agentq


def launch(target: Target, agentq: AgentQ, options: Sequence[str]) -> NoReturn:
    """Become ``celery -A … worker`` with these options.

    SIGTERM means a soft shutdown unless REMAP_SIGTERM says otherwise: running steps have the setting
    worker_soft_shutdown_timeout to end, then they are given back, and other workers take them at once. A pool that
    cannot stop a step waits for it instead, as Celery does.

    Raises ConfigurationError for an app that was given as an object and that no module holds.
    """
    from agentq.cli import application

    app = target.app if isinstance(target.app, str) else target.name or application.name_of(target.app)
    if app is None:
        raise ConfigurationError(
            "a worker is a process of its own, and imports its Celery app; no module was found that holds this "
            "one, so name it: -A MODULE"
        )
    agentq.ledger.close()
    environment = dict(os.environ)
    if _pool(options, agentq.app.conf.worker_pool) not in _CANNOT_STOP:
        environment.setdefault("REMAP_SIGTERM", "SIGQUIT")  # Celery reads it on import
    command = [sys.executable, "-m", "celery", "-A", app, "worker", *options]
    os.execve(sys.executable, command, environment)


def _pool(options: Sequence[str], configured: str) -> str:
    """Return the name of the pool that the worker will have."""
    for option, following in zip(options, [*options, ""][1:], strict=True):
        if option in ("-P", "--pool"):
            return following
        for name in ("--pool=", "-P"):
            if option.startswith(name):
                return option.removeprefix(name)
    return configured
