"""The app for ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from agentq.contrib.django import flush_in_tests, options, project


class AgentqConfig(AppConfig):
    """agentq in a Django project."""

    name = "agentq.contrib.django"
    label = "agentq"
    verbose_name = "agentq"

    agentq: project.ProjectAgentQ
    """The project's ``AgentQ``."""

    def ready(self) -> None:
        """Set agentq up as the setting ``AGENTQ`` says."""
        self.agentq = project.set_up(options.load())
        post_migrate.connect(flush_in_tests.empty_with_the_rest, sender=self)
