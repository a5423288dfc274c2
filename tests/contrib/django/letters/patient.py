"""A task that says all that it may about its step, from Django 6.1 on."""

from __future__ import annotations

from django.tasks import task


@task(timeout=60, hard_timeout=90, deadline=3600, retry="patient", on_failure="fail")
def fetch(url: str) -> str:
    """A task with options of its step."""
    return f"what is at {url}"
