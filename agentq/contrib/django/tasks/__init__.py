"""Django's built-in tasks (6.0 and later): ``"BACKEND": "agentq.contrib.django.tasks.Backend"``.

Each enqueued task is a workflow of one step. Celery imports this module as it does every app's ``tasks``, so its
import succeeds with an older Django too; the first use of a name then raises.
"""

from __future__ import annotations

from typing import Any

import django

from agentq.exceptions import ConfigurationError

if django.VERSION >= (6, 0):
    from agentq.contrib.django.tasks.backend import Backend
    from agentq.contrib.django.tasks.declare import StepTask

    __all__ = ["Backend", "StepTask"]
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ConfigurationError(
            f"agentq.contrib.django.tasks.{name} needs Django 6.0 or later, where tasks are built in; this is "
            f"{django.get_version()}. Write steps with @agentq.step instead"
        )
