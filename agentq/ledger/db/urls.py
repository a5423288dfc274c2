"""The ledger's URL: which databases it may name, and servers that take each other's place."""

from __future__ import annotations

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from agentq.exceptions import ConfigurationError
from agentq.ledger.db import pgbouncer

_SERVERS = re.compile(
    r"(?P<before>\w+(?:\+\w+)?://(?:[^@/]*@)?)(?P<servers>[^/?]*,[^/?]*)(?P<database>[^?]*)\??(?P<query>.*)"
)
_PORT = "5432"


def parse_url(text: str) -> URL:
    """Return the ledger's URL with the driver that agentq uses.

    Raises ConfigurationError for a text that is no database URL or names a database that is not supported.
    """
    try:
        url = make_url(_one_place(text))
    except (ArgumentError, ValueError):  # a port that is no number
        raise ConfigurationError(
            "the ledger URL cannot be parsed; write it as sqlite:////path/ledger.db or "
            "postgresql://user:password@host/database"
        ) from None
    backend = url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        pgbouncer.is_pooled(url)
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(
            f"the ledger cannot live in {backend!r}; use sqlite:// or postgresql:// (see docs/ledger.md)"
        )
    if _is_in_memory(url):
        raise ConfigurationError(
            "an in-memory SQLite ledger cannot be shared with workers; name a file: sqlite:////path/ledger.db"
        )
    return url


def _is_in_memory(url: URL) -> bool:
    is_nameless = url.database in (None, "", ":memory:", "file::memory:")
    return is_nameless or url.query.get("mode") == "memory" or url.query.get("vfs") == "memdb"


def _one_place(text: str) -> str:
    """Return a URL that names several servers, with their ports, as SQLAlchemy wants it: in the query."""
    found = _SERVERS.fullmatch(text)
    if found is None:
        return text
    servers = [server if ":" in server else f"{server}:{_PORT}" for server in found["servers"].split(",")]
    query = "&".join([*(f"host={server}" for server in servers), *filter(None, [found["query"]])])
    return f"{found['before']}{found['database']}?{query}"
