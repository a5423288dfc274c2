"""The project's ``AgentQ``: on its Celery app, with its ledger in one of its databases."""

from __future__ import annotations

from functools import cached_property
from typing import cast

from celery import Celery
from celery.app.utils import find_app
from django.apps import apps

from agentq.contrib.django.ledger import DjangoLedger
from agentq.contrib.django.options import DjangoOptions
from agentq.exceptions import ConfigurationError
from agentq.ledger.db.session import Ledger
from agentq.runtime.app import AgentQ


class ProjectAgentQ(AgentQ):
    """``AgentQ`` as the setting ``AGENTQ`` wants it."""

    def __init__(self, app: Celery, options: DjangoOptions) -> None:
        self.options = options
        super().__init__(app, ledger=f"DATABASES[{options.database!r}]", **options.settings)
        _ = self.settings, self.ledger  # a setting that does not fit is an error when the project starts

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, in the project's database; connects on first use."""
        return DjangoLedger(
            self.options.database,
            timeout=self.settings.ledger_timeout,
            publish=self.publish,
            naming=self.naming,
            is_in_worker=lambda: self.caretaker is not None,
        )


def current() -> ProjectAgentQ:
    """Return the project's ``AgentQ``; Django's apps must be ready."""
    return cast("ProjectAgentQ", apps.get_app_config("agentq").agentq)


def set_up(options: DjangoOptions) -> ProjectAgentQ:
    """Set agentq up on the project's Celery app, unless that was done.

    Raises ConfigurationError where there is no such app, or it has an ``AgentQ`` that knows nothing of Django.
    """
    app = _celery_app(options.app)
    found = getattr(app, "agentq", None)
    if isinstance(found, ProjectAgentQ):
        return found
    if found is not None:
        raise ConfigurationError(
            f"the Celery app {options.app!r} has an AgentQ already; take AgentQ(…) out of its module: "
            "'agentq.contrib.django' makes it, with the settings in AGENTQ"
        )
    return ProjectAgentQ(app, options)


def _celery_app(name: str) -> Celery:
    try:
        return cast("Celery", find_app(name))
    except Exception as error:  # importing the project's modules may raise anything
        raise ConfigurationError(
            f"the Celery app {name!r} cannot be loaded: {type(error).__name__}: {error}; name it as for "
            "celery -A: AGENTQ = {'APP': 'proj.celery'}"
        ) from error
