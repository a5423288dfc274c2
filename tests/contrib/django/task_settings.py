"""The example project with agentq as the backend of Django's tasks; for Django 6.0 and later."""

from research.settings import *  # noqa: F403
from research.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.contrib.django.letters"]
TASKS = {"default": {"BACKEND": "agentq.contrib.django.tasks.Backend", "QUEUES": []}}
