"""Limits hold on RabbitMQ, and on a ledger behind PgBouncer, as they do on Redis and PostgreSQL themselves."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from agentq import AgentQ
from agentq.ledger.db import migrate
from agentq.ledger.models import LimitRow
from tests.runtime.queries import require_sound
from tests.runtime.slot_steps import CALLS, call, most_at_once
from tests.runtime.stack import migrated_ledger, stack
from tests.runtime.test_pooled_ledger import give_settings, pooled
from tests.support import Broker, Gates, Worker, client, eventually, postgresql_database

KNOWN = ("-I", "tests.runtime.slot_steps")
JOBS = 30


def require_few_at_once(agentq: AgentQ, gates: Gates) -> None:
    """Run jobs of a limit on more processes than it has slots."""
    gates.open("call")
    workflows = agentq.start_many([call.s(str(gates.folder))] * JOBS)
    assert [workflow.result(60) for workflow in workflows] == [1] * JOBS
    assert most_at_once(gates.folder) <= CALLS
    used = select(func.sum(LimitRow.used))
    eventually(lambda: agentq.ledger.read(lambda connection: connection.scalar(used)) == 0, what="free slots")
    require_sound(agentq)


def test_limits_hold_on_rabbitmq(rabbitmq_broker: Broker, tmp_path: Path, gates: Gates) -> None:
    with (
        migrated_ledger("postgresql", tmp_path) as url,
        stack(rabbitmq_broker, url, concurrency=2 * CALLS, arguments=KNOWN) as at,
    ):
        require_few_at_once(at.agentq, gates)


def test_limits_hold_on_a_ledger_behind_pgbouncer(redis_broker: Broker, gates: Gates) -> None:
    with postgresql_database() as url:
        give_settings(url)
        with pooled(url) as pooled_url, client(redis_broker, pooled_url) as agentq:
            migrate.upgrade(agentq.ledger)
            with Worker(redis_broker, pooled_url, concurrency=2 * CALLS, arguments=KNOWN):
                require_few_at_once(agentq, gates)
