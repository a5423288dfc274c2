"""Rules: start workflows, with and without a key, again, and with a lost reply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from agentq.exceptions import BacklogFull, KeyConflict
from agentq.ids import new_id
from agentq.states import OnFull
from tests.stateful.base import TENANTS, LedgerMachine, given_any, harmless, some
from tests.stateful.model import Running
from tests.stateful.postponing import has_room
from tests.stateful.shapes import SHAPES, Shape
from tests.stateful.snapshot import line_of, open_of, waiting_of
from tests.support.fake_worker import Started

_SIZES = st.integers(0, 3)
_TENANTS = st.sampled_from(TENANTS)
_MOST_RUNNING, _MOST_POSTPONED = 3, 3


def _few_run(machine: LedgerMachine) -> bool:
    return sum(open_of(machine.seen, tenant) for tenant in TENANTS) < _MOST_RUNNING


def _few_wait(machine: LedgerMachine) -> bool:
    return sum(len(waiting_of(machine.seen, tenant)) for tenant in TENANTS) < _MOST_POSTPONED


class Starting(LedgerMachine):
    """The actions of a caller."""

    @initialize(shape=st.sampled_from(SHAPES), size=_SIZES)
    def start_first(self, shape: Shape, size: int) -> None:
        self._start(shape, size, TENANTS[0])

    @precondition(_few_run)
    @rule(shape=st.sampled_from(SHAPES), size=_SIZES, tenant=_TENANTS)
    def start(self, shape: Shape, size: int, tenant: str) -> None:
        self._start(shape, size, tenant)

    @precondition(_few_wait)
    @rule(shape=st.sampled_from(SHAPES), size=_SIZES, tenant=_TENANTS, places=st.sampled_from([0, 0, 1]))
    def start_or_postpone(self, shape: Shape, size: int, tenant: str, places: int) -> None:
        most = max(1, open_of(self.seen, tenant) + places)
        self._write_one(shape, size, tenant, max_open=most, is_postponed=not has_room(self, tenant, most))

    @harmless
    @precondition(_few_run)
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
        opened = open_of(self.seen, tenant)
        if not has_room(self, tenant, opened):
            self._refuse_start(shape, 1, tenant, max_open=opened)

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

    def _start(self, shape: Shape, size: int, tenant: str, key: str | None = None) -> None:
        most = open_of(self.seen, tenant) + 1
        if has_room(self, tenant, most):
            self._write_one(shape, size, tenant, key=key, max_open=most)
        else:
            self._refuse_start(shape, size, tenant, key=key, max_open=most)

    def _refuse_start(self, shape: Shape, size: int, tenant: str, **options: Any) -> None:
        with pytest.raises(BacklogFull) as refused:
            self.look(lambda: self.caretaker.start(shape.canvas(size), tenant=tenant, **options))
        assert refused.value.count <= open_of(self.seen, tenant)

    def _write_one(
        self,
        shape: Shape,
        size: int,
        tenant: str,
        *,
        max_open: int,
        key: str | None = None,
        is_postponed: bool = False,
    ) -> None:
        number = len(self.model.workflows) + 1
        workflow = Running(new_id(), number, shape, size, tenant, key)
        options = {"tenant": tenant, "key": key, "workflow_id": workflow.id, "max_open": max_open}
        started = self.move(
            lambda: self.caretaker.start(shape.canvas(size), on_full=OnFull.POSTPONE, **options), workflow.id
        )
        assert (started.workflow_id, started.is_new) == (workflow.id, True)
        assert {job.tenant for job in self.seen.of(workflow.id)} == {tenant}
        assert self.seen.workflows[workflow.id].postponed_on == (line_of(tenant) if is_postponed else None)
        self.model.workflows.append(workflow)
        self.publish(started.dispatches)
