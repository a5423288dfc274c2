"""A PostgreSQL server that logs the plan of every statement that it runs, of any session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from psycopg import connect

from tests.plans.indexes import SHORT, SMALL
from tests.support.postgres import Postgres
from tests.support.services import end_connections

_EXPLAINING = {
    "shared_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "autovacuum": "off",
    "log_line_prefix": "%a|",
}
_ENTRY = re.compile(r"^agentq\|LOG:  duration: .* plan:\n((?:\t.*\n)+)", re.MULTILINE)
_WHOLE_TABLE = re.compile(r"Seq Scan on (agentq_\w+)")
_WHOLE_INDEX = re.compile(r"Index (?:Only )?Scan (?:Backward )?using (\w+) on .*\n(?!\s+Index Cond)")
_PAGES = re.compile(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?")


@dataclass(frozen=True, slots=True)
class Plan:
    """The server's plan of one statement of agentq's."""

    text: str
    """The statement, and its plan."""

    @property
    def read_whole(self) -> set[str]:
        """The tables and indexes that it may have read from end to end, and that grow with what is done."""
        return set(_WHOLE_TABLE.findall(self.text)) - SMALL | set(_WHOLE_INDEX.findall(self.text)) - SHORT

    @property
    def pages(self) -> int:
        """The number of pages it read, of tables and of indexes."""
        return max((int(hit or 0) + int(read or 0) for hit, read in _PAGES.findall(self.text)), default=0)


class ExplainingPostgres(Postgres):
    """One server, whose log has the plans."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**_EXPLAINING, **settings)

    def plans(self, since: int) -> list[Plan]:
        """The plans of all that agentq ran since the log was *since* characters long."""
        return [Plan(match[1]) for match in _ENTRY.finditer(self.log(), since)]

    def administer(self, statement: Any) -> None:
        """Run a statement as nobody's in particular."""
        with connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def forget_plans(self) -> None:
        """End all connections of agentq, and with them all plans that were made."""
        with connect(self.url, autocommit=True) as connection:
            end_connections(connection, "application_name = 'agentq'")
