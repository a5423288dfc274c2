"""A worker with a short lease that knows the steps of these tests."""

from __future__ import annotations

from typing import Any

from tests.support import Broker, Worker

LEASE = 2.0


def worker_of(broker: Broker, ledger_url: str, concurrency: int = 1, **options: Any) -> Worker:
    """A worker with a short lease that knows the steps of these tests."""
    settings = {"lease": LEASE, "redispatch_after": 1, "cancel_grace": 1} | options.pop("settings", {})
    arguments = ("-I", "tests.faults.worker.steps", *options.pop("arguments", ()))
    return Worker(broker, ledger_url, settings=settings, concurrency=concurrency, arguments=arguments, **options)
