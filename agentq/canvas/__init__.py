"""Celery's canvas compiled to agentq's graph."""
