"""agentq without configuration: a SQLite ledger and a private Valkey server in one folder."""

from agentq.embedded.server import Embedded

__all__ = ["Embedded"]
