"""Flower for agentq: ``celery -A proj flower --conf=configs/flowerconfig.py``."""

from agentq.contrib.flowerconfig import *  # noqa: F403
