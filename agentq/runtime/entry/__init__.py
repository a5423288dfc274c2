"""Where Celery calls agentq: tasks, requests, the consumer."""
