"""A ledger with its schema for a whole module, and a client beside its worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentq import AgentQ
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.support import Broker, Worker, client, new_database, require_sound


@dataclass(frozen=True)
class Stack:
    """A broker, a ledger, a running worker, and the client's AgentQ."""

    broker: Broker
    ledger_url: str
    worker: Worker
    agentq: AgentQ


@contextmanager
def migrated_ledger(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new ledger with its schema, sound at the end; *kind* is sqlite or postgresql."""
    with new_database(kind, folder) as url:
        ledger = Ledger(url)
        migrate.upgrade(ledger)
        ledger.close()
        yield url
        require_sound(url)


@contextmanager
def stack(broker: Broker, ledger_url: str, **worker: Any) -> Iterator[Stack]:
    """A worker that runs, and an app whose AgentQ starts workflows for it."""
    with Worker(broker, ledger_url, **worker) as running, client(broker, ledger_url) as agentq:
        yield Stack(broker, ledger_url, running, agentq)
