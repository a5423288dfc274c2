"""``manage.py agentq …``: the same commands as ``agentq``, with the project's Celery app and ledger."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from agentq.cli.mounting import mounted
from agentq.contrib.django import options


class Command(BaseCommand):
    """Hand the command line over to agentq's own."""

    help = "Operate agentq: workflows, jobs, dead letters, workers; see manage.py agentq --help."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run one command; leaves the process with its exit code."""
        self.handle(*argv[2:])

    def handle(self, *arguments: str, **_: Any) -> None:
        """Run one command, given as on the command line; leaves with its exit code."""
        mounted(options.load().app).main(list(arguments), prog_name="manage.py agentq")
