"""A ledger that was used before the pool forked: no connection is shared with a child."""

from __future__ import annotations

from tests.faults.ledger import locks
from tests.faults.ledger.steps import served_by
from tests.runtime.queries import require_sound
from tests.runtime.stack import stack
from tests.support import Broker, Gates
from tests.support.postgres import Postgres
from tests.support.steps import add

CHILDREN = 3


def test_each_child_has_a_connection_of_its_own(redis_broker: Broker, postgres: Postgres, gates: Gates) -> None:
    options = ("-I", "tests.faults.ledger.steps", "--max-tasks-per-child=2")
    with stack(
        redis_broker,
        postgres.url,
        module="tests.faults.ledger.preloaded",
        concurrency=CHILDREN,
        arguments=options,
    ) as at:
        parents = locks.connections(postgres)
        assert parents
        held = [at.agentq.start(served_by.s(str(gates.folder))) for _ in range(CHILDREN)]
        gates.await_reached("gate", CHILDREN)
        gates.open("gate")
        children = {workflow.result(20) for workflow in held}
        assert len(children) == len(set(gates.pids("gate"))) == CHILDREN
        assert not children & parents
        # Children that end and new ones, forked while the parent's connections are in use, change nothing for it.
        more = [at.agentq.start(add.s(number, 1)) for number in range(CHILDREN * 2)]
        assert [workflow.result(20) for workflow in more] == [number + 1 for number in range(CHILDREN * 2)]
        assert parents <= locks.connections(postgres)
        require_sound(at.agentq)
