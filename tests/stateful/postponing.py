"""Rules: caps are set and cleared; what is postponed is let in after a commit or by a caretaker, or waits on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from itertools import takewhile

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from agentq.ids import new_id
from agentq.ledger import postponed, tenants
from agentq.ledger.after_commit import LetIn
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import Dispatch
from agentq.states import BlockedBy, JobStatus
from tests.stateful.base import TENANTS, LedgerMachine, given_any, harmless, some
from tests.stateful.snapshot import Snapshot, line_of, open_of, waiting_of

_NONE = 1000
"""More than a run starts."""


def _cap(machine: LedgerMachine, tenant: str, of_code: int | None) -> int:
    """Return the cap of an operator, or else the one of code, or else one that is never reached."""
    caps = (machine.model.caps.get(tenant), of_code, _NONE)
    return next(cap for cap in caps if cap is not None)


def has_room(machine: LedgerMachine, tenant: str, max_open: int) -> bool:
    """Say whether a start of a tenant begins, with this cap of code."""
    cap = _cap(machine, tenant, max_open)
    return not waiting_of(machine.seen, tenant) and open_of(machine.seen, tenant) < cap


def _to_let_in(machine: LedgerMachine, tenant: str) -> list[AnyRow]:
    """Return the workflows for which there is room, in their order."""
    opened = open_of(machine.seen, tenant)
    numbered = enumerate(waiting_of(machine.seen, tenant), opened)
    return [one for _, one in takewhile(lambda it: it[0] < _cap(machine, tenant, it[1].max_open), numbered)]


def _followed(machine: LedgerMachine) -> list[str]:
    """Return the tenants in whose lines processes are to let workflows in."""
    return [tenant for tenant in TENANTS if LetIn(line_of(tenant)) in machine.ledger.works]


def _postponed(found: Snapshot) -> set[uuid.UUID]:
    return {one.id for tenant in TENANTS for one in waiting_of(found, tenant)}


def _waited_for(machine: LedgerMachine) -> list[str]:
    return [tenant for tenant in TENANTS if waiting_of(machine.seen, tenant)]


def _with_room(machine: LedgerMachine) -> list[str]:
    return [tenant for tenant in TENANTS if _to_let_in(machine, tenant)]


def _to_follow(machine: LedgerMachine) -> list[str]:
    return [tenant for tenant in _with_room(machine) if tenant in _followed(machine)]


def _capped(machine: LedgerMachine) -> list[str]:
    return [tenant for tenant in TENANTS if machine.model.caps.get(tenant) is not None]


class Postponing(LedgerMachine):
    """The actions of operators on caps, and of processes that let workflows in."""

    @precondition(lambda machine: len(machine.model.caps) < len(TENANTS))
    @rule(tenant=st.sampled_from(TENANTS), most=st.integers(0, 2))
    def set_cap(self, tenant: str, most: int) -> None:
        self._set(tenant, most)

    @given_any(_waited_for)
    @rule(tenant=some(_waited_for), places=st.integers(-1, 2))
    def set_cap_near_what_is_open(self, tenant: str, places: int) -> None:
        self._set(tenant, max(0, open_of(self.seen, tenant) + places))

    @given_any(_capped)
    @rule(tenant=some(_capped))
    def clear_cap(self, tenant: str) -> None:
        self._set(tenant, None)

    @given_any(_to_follow)
    @rule(tenant=some(_to_follow))
    def let_in_after_a_commit(self, tenant: str) -> None:
        del self.ledger.works[LetIn(line_of(tenant))]
        self._let_in([tenant], lambda: postponed.let_in(self.ledger, line_of(tenant)))

    @given_any(_to_follow)
    @rule(tenant=some(_to_follow))
    def die_after_a_commit(self, tenant: str) -> None:
        del self.ledger.works[LetIn(line_of(tenant))]
        self.model.died.add(line_of(tenant))

    @given_any(_with_room)
    @rule()
    def let_all_in(self) -> None:
        self._let_in(TENANTS, lambda: postponed.let_all_in(self.ledger, ""))
        assert not _with_room(self)

    @harmless
    @given_any(_waited_for)
    @rule(tenant=st.sampled_from(TENANTS))
    def let_nothing_in(self, tenant: str) -> None:
        if not _to_let_in(self, tenant):
            self.look(lambda: postponed.let_in(self.ledger, line_of(tenant)))

    @invariant()
    def no_room_is_forgotten(self) -> None:
        for tenant in TENANTS:
            if not _to_let_in(self, tenant):
                self._note_followed(tenant)  # who looks finds nothing to do: what makes room must look anew
            is_known = line_of(tenant) in self.model.died or tenant in _followed(self)
            assert is_known or not _to_let_in(self, tenant), f"nobody lets in what waits for {tenant}"

    @invariant()
    def what_is_postponed_waits(self) -> None:
        waiting = _postponed(self.seen)
        for job in self.seen.jobs.values():
            is_held_back = (job.status, job.blocked_by) == (JobStatus.BLOCKED, BlockedBy.BACKLOG)
            assert is_held_back == (job.workflow_id in waiting and job.status != JobStatus.WAITING)

    def _note_followed(self, tenant: str) -> None:
        self.ledger.works.pop(LetIn(line_of(tenant)), None)
        self.model.died.discard(line_of(tenant))

    def _set(self, tenant: str, most: int | None) -> None:
        action = {"actor": "ann", "reason": "a trial", "action_id": new_id()}
        self.write(lambda tx: tenants.set_max_open(tx, tenant, most, **action))
        self.model.caps |= {tenant: most}

    def _let_in(self, of: Sequence[str], work: Callable[[], object]) -> None:
        """Let those in that come first in the lines of these tenants, as many as there is room for."""
        room = {one.id for tenant in of for one in _to_let_in(self, tenant)}
        sent: list[Dispatch] = []
        self.ledger.publish = sent.extend
        self.move(work, *room)
        self.ledger.publish = None
        assert _postponed(self.before) - _postponed(self.seen) == room
        self.publish(sent)
