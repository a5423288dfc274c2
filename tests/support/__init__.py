"""Helpers that all tests share: services, real workers, steps that can be stopped, counted and killed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.clients import client
    from tests.support.gates import Gates
    from tests.support.ledgers import copied_ledger, empty, new_database, require_sound, sqlite_file
    from tests.support.services import Broker, postgresql_database, rabbitmq, redis_server
    from tests.support.waiting import eventually
    from tests.support.worker import Worker

__all__ = [
    "Broker",
    "Gates",
    "Worker",
    "client",
    "copied_ledger",
    "empty",
    "eventually",
    "new_database",
    "postgresql_database",
    "rabbitmq",
    "redis_server",
    "require_sound",
    "sqlite_file",
]

_HOMES = {
    "clients": ["client"],
    "gates": ["Gates"],
    "ledgers": ["copied_ledger", "empty", "new_database", "require_sound", "sqlite_file"],
    "services": ["Broker", "postgresql_database", "rabbitmq", "redis_server"],
    "waiting": ["eventually"],
    "worker": ["Worker"],
}


def __getattr__(name: str) -> Any:
    """Import what is used: hundreds of workers run these steps, and need neither pytest nor the services."""
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = getattr(import_module(f"tests.support.{home}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
