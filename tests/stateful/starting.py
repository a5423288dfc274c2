"""Rules: start workflows, with and without a key, again, and with a lost reply."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from agentq.exceptions import BacklogFull, KeyConflict
from agentq.ids import new_id
from agentq.states import WorkflowStatus
from tests.stateful.base import TENANTS, LedgerMachine, given_any, harmless, some
from tests.stateful.model import Running
from tests.stateful.shapes import SHAPES, Shape
from tests.support.fake_worker import Started

_SIZES = st.integers(0, 3)
_TENANTS = st.sampled_from(TENANTS)
_MOST_RUNNING = 3


def _has_room(machine: LedgerMachine) -> bool:
    statuses = [workflow.status for workflow in machine.seen.workflows.values()]
    return statuses.count(WorkflowStatus.RUNNING) < _MOST_RUNNING


class Starting(LedgerMachine):
    """The actions of a caller."""

    @initialize(shape=st.sampled_from(SHAPES), size=_SIZES)
    def start_first(self, shape: Shape, size: int) -> None:
        self._start(shape, size, TENANTS[0])

    @precondition(_has_room)
    @rule(shape=st.sampled_from(SHAPES), size=_SIZES, tenant=_TENANTS)
    def start(self, shape: Shape, size: int, tenant: str) -> None:
        self._start(shape, size, tenant)

    @harmless
    @precondition(_has_room)
    @rule(shape=st.sampled_from(SHAPES[:2]), size=st.integers(0, 1), tenant=_TENANTS)
    def start_with_key(self, shape: Shape, size: int, tenant: str) -> None:
        known = self.model.by_key(tenant, "monday")
        if known is None:
            self._start(shape, size, tenant, "monday")
        elif (known.shape, known.size) == (shape, size):
            again = self.look(lambda: self.caretaker.start(shape.canvas(size), tenant=tenant, key="monday"))
            assert again == Started(known.id, False)
        else:
            with pytest.raises(KeyConflict):
                self.look(lambda: self.caretaker.start(shape.canvas(size), tenant=tenant, key="monday"))

    @harmless
    @rule(shape=st.sampled_from(SHAPES[:2]), tenant=_TENANTS)
    def start_over_a_cap(self, shape: Shape, tenant: str) -> None:
        opened = self._open(tenant)
        with pytest.raises(BacklogFull) as refused:
            self.look(lambda: self.caretaker.start(shape.canvas(1), tenant=tenant, max_open=opened))
        assert refused.value.count == opened

    @harmless
    @given_any(lambda machine: machine.model.workflows)
    @rule(workflow=some(lambda machine: machine.model.workflows))
    def start_again_after_a_lost_reply(self, workflow: Running) -> None:
        canvas = workflow.shape.canvas(workflow.size)
        start = self.caretaker.start
        again = self.look(lambda: start(canvas, tenant=workflow.tenant, key=workflow.key, workflow_id=workflow.id))
        assert (again.workflow_id, again.is_new) == (workflow.id, True)
        unclaimed = [job.id for job in self.seen.of(workflow.id) if not job.attempt and job.status == "queued"]
        assert sorted(dispatch.job_id for dispatch in again.dispatches) == unclaimed
        self.send(again.dispatches)

    def _open(self, tenant: str) -> int:
        found = self.seen.workflows.values()
        return sum(one.tenant == tenant and one.status == WorkflowStatus.RUNNING for one in found)

    def _start(self, shape: Shape, size: int, tenant: str, key: str | None = None) -> None:
        number = len(self.model.workflows) + 1
        workflow = Running(new_id(), number, shape, size, tenant, key)
        options = {"tenant": tenant, "key": key, "workflow_id": workflow.id, "max_open": self._open(tenant) + 1}
        started = self.move(lambda: self.caretaker.start(shape.canvas(size), **options), workflow.id)
        assert (started.workflow_id, started.is_new) == (workflow.id, True)
        assert {job.tenant for job in self.seen.of(workflow.id)} == {tenant}
        self.model.workflows.append(workflow)
        self.publish(started.dispatches)
