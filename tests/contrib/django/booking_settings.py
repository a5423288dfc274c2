"""The example project with steps that write with their completion."""

from research.settings import *  # noqa: F403
from research.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.contrib.django.booking"]
