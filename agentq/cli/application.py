"""The user's Celery app, for the commands that need it."""

from __future__ import annotations

import sys
from typing import cast

from celery import Celery
from celery.app.utils import find_app

from agentq.exceptions import ConfigurationError


def load(app: str | Celery) -> Celery:
    """Return an app, imported by its name as ``celery -A`` does; raises ConfigurationError where that fails."""
    try:
        found = cast("Celery", find_app(app))
        if not hasattr(found, "agentq"):
            found.loader.import_default_modules()  # a framework sets its apps up when Celery says that
        return found
    except Exception as error:  # importing the user's modules may raise anything
        raise ConfigurationError(
            f"the Celery app {app!r} cannot be loaded: {type(error).__name__}: {error}; is it importable from "
            "this folder, and does the module define a Celery app?"
        ) from error


def name_of(app: Celery | None) -> str | None:
    """Return the name by which ``celery -A`` finds an app, None where no module that was imported holds it."""
    for module in list(sys.modules.values()):
        if module.__name__.partition(".")[0] == "celery":  # it keeps the current one
            continue
        for attribute, value in list(vars(module).items()):
            if value is app:
                return f"{module.__name__}:{attribute}"
    return None
