"""agentq in a Django project: ``INSTALLED_APPS = [..., "agentq.contrib.django"]``; see docs/django.md."""
