"""agentq: durable agent workflows on the Celery you already run."""
