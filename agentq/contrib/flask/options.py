"""The app's configuration ``AGENTQ``: agentq's own settings by name, and Celery's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask

from agentq.exceptions import ConfigurationError, nearest
from agentq.settings import Settings

_KNOWN = {"celery", *Settings.model_fields}


@dataclass(frozen=True, slots=True)
class FlaskOptions:
    """The options in the configuration."""

    celery: Mapping[str, Any]
    """Celery's configuration: ``AGENTQ["celery"]``, else ``CELERY``, as in Flask's documentation."""
    settings: dict[str, Any]
    """Settings of ``agentq.settings.Settings`` by name."""


def load(app: Flask) -> FlaskOptions:
    """Read ``AGENTQ`` and ``CELERY``; raises ConfigurationError for what is not known or does not fit."""
    given = _mapping("AGENTQ", app.config.get("AGENTQ", {}))
    unknown = sorted(map(str, set(given) - _KNOWN))
    if unknown:
        raise ConfigurationError(f"there is no setting AGENTQ[{unknown[0]!r}].{nearest(unknown[0], _KNOWN)}")
    if "celery" in given:
        celery = _mapping("AGENTQ['celery']", given["celery"])
    else:
        celery = _mapping("CELERY", app.config.get("CELERY", {}))
    return FlaskOptions(celery, {name: value for name, value in given.items() if name != "celery"})


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"the setting {name} is {type(value).__name__}; it must be a dict")
    return value
