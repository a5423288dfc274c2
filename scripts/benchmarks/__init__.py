"""agentq and bare Celery side by side: the same work, the same broker, the same pool."""
