"""A pool for steps that wait, such as model calls: ``CELERY_CUSTOM_WORKER_POOL=agentq.pool:TaskPool``.

``celery worker --pool=custom`` takes it from there.
"""

from agentq.runtime.bridge.asyncio_pool import TaskPool

__all__ = ["TaskPool"]
