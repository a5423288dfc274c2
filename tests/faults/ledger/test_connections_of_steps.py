"""A step's own connections to the same database do not affect the ledger."""

from __future__ import annotations

import psycopg

from tests.faults.ledger.steps import leave_broken, leave_open
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import stack
from tests.support import Broker
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.steps import add


@covers(Fault.CONFLICT, Phase.BODY, Phase.COMPLETION)
def test_a_transaction_that_a_step_leaves_open_or_broken(redis_broker: Broker, postgres: Postgres) -> None:
    steps = ("-I", "tests.faults.ledger.steps")
    with stack(redis_broker, postgres.url, concurrency=1, arguments=steps) as at:
        workflow = at.agentq.start(leave_open.s(1) | leave_broken.s() | leave_open.s() | add.s(2))
        assert workflow.result(20) == 3
        assert [job.attempt for job in workflow.jobs()] == [1, 1, 1, 1]
        assert history(workflow) == ["succeeded"]
        states = ["idle in transaction", "idle in transaction", "idle in transaction (aborted)"]
        assert states_of_users(postgres) == states
        require_sound(at.agentq)


def states_of_users(postgres: Postgres) -> list[str]:
    """The states of the steps' own connections, as the server sees them."""
    query = "SELECT state FROM pg_stat_activity WHERE application_name = 'user' ORDER BY state"
    with psycopg.connect(postgres.url) as admin:
        return [state for (state,) in admin.execute(query)]
