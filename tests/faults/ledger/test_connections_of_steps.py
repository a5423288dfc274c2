"""What a step does on connections of its own to the same database is nothing to the ledger."""

from __future__ import annotations

import psycopg

from tests.faults.ledger.steps import leave_broken, leave_open
from tests.runtime.looks import history, require_sound
from tests.runtime.place import place
from tests.support import Broker
from tests.support.faults import Fault, Moment, covers
from tests.support.postgres import Postgres
from tests.support.steps import add


@covers(Fault.CONFLICT, Moment.BODY, Moment.COMPLETION)
def test_a_transaction_that_a_step_leaves_open_or_broken(redis_broker: Broker, postgres: Postgres) -> None:
    steps = ("-I", "tests.faults.ledger.steps")
    with place(redis_broker, postgres.url, concurrency=1, arguments=steps) as at:
        workflow = at.agentq.start(leave_open.s(1) | leave_broken.s() | leave_open.s() | add.s(2))
        assert workflow.result(20) == 3
        assert [job.attempt for job in workflow.jobs()] == [1, 1, 1, 1]
        assert history(workflow) == ["succeeded"]
        states = ["idle in transaction", "idle in transaction", "idle in transaction (aborted)"]
        assert states_of_users(postgres) == states
        require_sound(at.agentq)


def states_of_users(postgres: Postgres) -> list[str]:
    """What the steps' own connections are doing, as the server sees it."""
    query = "SELECT state FROM pg_stat_activity WHERE application_name = 'user' ORDER BY state"
    with psycopg.connect(postgres.url) as admin:
        return [state for (state,) in admin.execute(query)]
