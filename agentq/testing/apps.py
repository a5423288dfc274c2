"""The Celery app of a test, and the name by which another process finds it."""

from __future__ import annotations

import sys
from typing import cast

from celery import Celery
from celery.app import app_or_default
from celery.app.utils import find_app

from agentq.exceptions import ConfigurationError


def find(name: str) -> Celery:
    """Return the app of this name, as ``celery -A`` finds it; of no name, the current one.

    Raises ConfigurationError where no app is named and the current one has no ``AgentQ``.
    """
    if name:
        return cast("Celery", find_app(name))
    app = app_or_default()
    if getattr(app, "agentq", None) is None:
        raise ConfigurationError(
            f"the current Celery app, {app.main!r}, has no AgentQ; import the module of the app in the test, or "
            "name it in pytest's configuration: agentq_app = proj, or write a fixture agentq_app that returns it"
        )
    return cast("Celery", app)


def name_of(app: Celery) -> str:
    """Return the name by which another process can import the app: ``module:attribute``.

    Raises ConfigurationError where no module has it.
    """
    homes = [
        (module, name)
        for module, found in list(sys.modules.items())
        for name, value in list(getattr(found, "__dict__", {}).items())
        if value is app and module != "__main__"
    ]
    if not homes:
        raise ConfigurationError(
            f"the Celery app {app.main!r} is in no module, so a worker cannot import it; give it a name in one"
        )
    # Tests import it too, from the module that makes it, which most give its name.
    module, name = min(homes, key=lambda home: not f"{home[0]}.".startswith(f"{app.main}."))
    return f"{module}:{name}"
