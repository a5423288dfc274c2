"""The project's setting ``AGENTQ``: which Celery app, which database, and agentq's own settings by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import django
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS

from agentq.exceptions import ConfigurationError, nearest
from agentq.settings import Settings

_OWN = {"APP", "DATABASE"}
_KNOWN = _OWN | {name.upper() for name in Settings.model_fields if name != "ledger"}


@dataclass(frozen=True, slots=True)
class DjangoOptions:
    """The options in ``AGENTQ``."""

    app: str
    """The Celery app, as for ``celery -A``. Default: the package of the settings module."""
    database: str
    """The alias in ``DATABASES`` of the database that the ledger lives in. Default: "default"."""
    settings: dict[str, Any]
    """Settings of ``agentq.settings.Settings`` by name."""


def load() -> DjangoOptions:
    """Read ``AGENTQ``; raises ConfigurationError for what is not known or does not fit."""
    given = getattr(django_settings, "AGENTQ", {})
    if not isinstance(given, dict):
        raise ConfigurationError(f"the setting AGENTQ is {type(given).__name__}; it must be a dict")
    if "LEDGER" in given:
        raise ConfigurationError(
            "AGENTQ['LEDGER'] is not a setting in a Django project: the ledger lives in one of DATABASES; name "
            "its alias with AGENTQ['DATABASE']"
        )
    unknown = sorted(map(str, set(given) - _KNOWN))
    if unknown:
        raise ConfigurationError(f"there is no setting AGENTQ[{unknown[0]!r}].{nearest(unknown[0], _KNOWN)}")
    _require_tasks()
    database = given.get("DATABASE", DEFAULT_DB_ALIAS)
    if database not in django_settings.DATABASES:
        hint = nearest(str(database), django_settings.DATABASES)
        raise ConfigurationError(f"AGENTQ['DATABASE'] is {database!r}, which is not in DATABASES.{hint}")
    return DjangoOptions(
        app=given.get("APP", django_settings.SETTINGS_MODULE.partition(".")[0]),
        database=database,
        settings={name.lower(): value for name, value in given.items() if name not in _OWN},
    )


def _require_tasks() -> None:
    backends = [str(backend.get("BACKEND")) for backend in getattr(django_settings, "TASKS", {}).values()]
    if django.VERSION < (6, 0) and any(name.startswith("agentq.") for name in backends):
        raise ConfigurationError(
            f"TASKS names agentq's backend, but Django's built-in tasks came with Django 6.0 and this is "
            f"{django.get_version()}; write steps with @agentq.step instead"
        )
