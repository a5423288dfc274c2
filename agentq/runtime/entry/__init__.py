"""The entries by which Celery calls agentq: tasks, requests, the consumer."""
