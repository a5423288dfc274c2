"""The commands inside another program, such as ``flask`` or ``manage.py``, which gives the app."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import click

from agentq.cli.main import agentq
from agentq.cli.target import GivenApp

if TYPE_CHECKING:
    from celery import Celery


def mounted(app: Celery | str, *, name: str | None = None) -> click.Group:
    """Return the group of all commands, which are about *app* unless ``-A`` names another.

    Args:
        app: a Celery app with an ``AgentQ``; or its name, as for ``celery -A``, and it is imported by the first
            command that needs it.
        name: how a worker, a process of its own, finds an app that was given as an object. Default: as an
            attribute of a module that was imported.

    Returns a group to be added to another one, or to be run: ``mounted(app).main(arguments, prog_name=…)``.
    """
    group = copy.copy(agentq)
    group.context_settings = {**agentq.context_settings, "obj": GivenApp(app, name)}
    return group
