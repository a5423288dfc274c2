"""What the tests share: services, workers as real processes, steps that can be held, counted and killed."""

from tests.support.client import client
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
