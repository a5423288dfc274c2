"""Mutants of what a worker does beside its steps: rescue, duties, the lease."""

from __future__ import annotations

from scripts.mutation.mutant import ATTEMPTS, CARETAKING, GUARDS, Mutant

_DUTIES = "agentq/runtime/caretaker/duties.py"
_EXECUTOR = "agentq/runtime/attempt/attempt.py"
_LEASE = "agentq/runtime/attempt/lease.py"
_SLEEPS = "tests/ledger/test_sleeps.py"
_TIMING = "agentq/ledger/moves/timed.py"


def _without(duty: str, text: str, why: str) -> Mutant:
    return Mutant(f"no-{duty}", _DUTIES, f"            {text}\n", "", why, (GUARDS,), "Caretaker")


MUTANTS = [
    Mutant(
        name="rescue-from-the-living",
        file=_TIMING,
        text="LOST = and_(JobRow.status == JobStatus.RUNNING, JobRow.worker_id.in_(LOST_WORKERS))",
        instead="LOST = and_(JobRow.status == JobStatus.RUNNING)",
        why="every job is taken away from the worker that runs it",
        tests=(CARETAKING,),
        pick="Rescue",
    ),
    Mutant(
        name="a-sleep-ends-before-it-is-over",
        file=_TIMING,
        text="    .where(JobRow.id == JOB_ID, JobRow.kind == JobKind.SLEEP, DUE)\n",
        instead="    .where(JobRow.id == JOB_ID, JobRow.kind == JobKind.SLEEP)\n",
        why="whoever asks ends a sleep, also one that was cancelled",
        tests=(_SLEEPS,),
        pick="not_over or cancelled",
    ),
    Mutant(
        name="a-sleep-is-queued-as-a-step",
        file=_TIMING,
        text="    jobs = [row.id for row in due if row.kind != JobKind.SLEEP]\n",
        instead="    jobs = [row.id for row in due]\n",
        why="no worker knows the step, and the workflow stands still",
        tests=(_SLEEPS,),
        pick="ended_once",
    ),
    Mutant(
        name="a-lease-never-ends",
        file=_TIMING,
        text=".where(WorkerRow.id == _workers.c.worker_id, WorkerRow.lease_until >= now())",
        instead=".where(WorkerRow.id == _workers.c.worker_id)",
        why="what a dead worker ran stays running for ever",
        tests=(CARETAKING,),
        pick="Rescue",
    ),
    Mutant(
        name="rescue-without-history",
        file="agentq/ledger/caretaking/rescues.py",
        text="    end_attempt(tx, row, outcome, why)\n",
        instead="",
        why="no record says why an attempt is missing",
        tests=(CARETAKING,),
        pick="Rescue",
    ),
    Mutant(
        name="redispatch-at-once",
        file=_TIMING,
        text='_grace = bindparam("grace", type_=Float())',
        instead='_grace = -bindparam("grace", type_=Float())',
        why="messages that only wait their turn are sent again and again, and flood the broker",
        tests=(CARETAKING,),
        pick="LostMessages",
    ),
    Mutant(
        name="due-before-its-time",
        file=_TIMING,
        text="DUE = and_(JobRow.status == JobStatus.SCHEDULED, JobRow.due_at <= now(), ",
        instead="DUE = and_(JobRow.status == JobStatus.SCHEDULED, ",
        why="retries and scheduled starts do not wait",
        tests=(ATTEMPTS,),
    ),
    _without(
        "dispatch-of-what-is-due",
        "_Duty(settings.due_interval, self.dispatch_due, Work.DUE),",
        "retries and scheduled starts never run",
    ),
    _without("account-of-jobs", "self._account,", "what a killed child ran stays running for ever"),
    _without(
        "redispatch-of-lost-messages",
        "_Duty(settings.redispatch_after / 2.5, self.redispatch_lost, Work.UNCLAIMED),",
        "a job whose message the broker lost never runs",
    ),
    _without(
        "rescue",
        "_Duty(min(settings.lease / 3, 5.0), self.rescue_lost, Work.LOST),",
        "what a dead worker ran stays running for ever",
    ),
    _without(
        "end-of-what-is-overdue",
        "_Duty(1.0, self.end_overdue, Work.OVERDUE),",
        "deadlines and expiries mean nothing",
    ),
    _without(
        "word-of-the-dead",
        "_Duty(1.0, self.issue_dead_letters, Work.LETTERS),",
        "the handlers of dead letters are not called",
    ),
    Mutant(
        name="end-without-release",
        file="agentq/runtime/caretaker/caretaker.py",
        text="lambda tx: rescues.release_all(tx, self.worker_id), wait_timeout",
        instead="lambda _: [], wait_timeout",
        why="what a stopped worker ran costs an attempt, and waits",
        tests=(GUARDS,),
        pick="gives_back",
    ),
    Mutant(
        name="claim-without-trust",
        file=_LEASE,
        text="        while self.valid_for() <= 0:",
        instead="        while False:",
        why="a worker that cannot renew its lease claims jobs that others will take from it",
        tests=(GUARDS,),
        pick="without_a_valid_lease",
    ),
    Mutant(
        name="trust-beyond-the-lease",
        file=_LEASE,
        text="(1 - _MARGIN)",
        instead="(1 + _MARGIN)",
        why="a worker goes on with a job that another one runs already",
        tests=(GUARDS,),
        pick="trust",
    ),
    Mutant(
        name="a-step-ends-its-worker",
        file=_EXECUTOR,
        text="        except BaseException as error:  # none of a step may end its worker",
        instead="        except Exception as error:",
        why="a step that calls sys.exit() takes its worker's process along and counts as lost",
        tests=(GUARDS,),
        pick="ends_its_program",
    ),
]
