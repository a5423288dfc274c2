"""Mutants of holds: slots that attempts take for calls, and those that lost attempts keep."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_HOLDS = "tests/ledger/test_holds.py"
_RACES = "tests/races/test_holds.py"
_ATTEMPTS = "agentq/ledger/attempts.py"
_LIMITS = "agentq/ledger/moves/limits.py"
_MOVES = "agentq/ledger/moves/holds.py"
_RESCUES = "agentq/ledger/caretaking/rescues.py"
_RETENTION = "agentq/ledger/retention.py"
_TIMED = "agentq/ledger/moves/timed.py"

MUTANTS = [
    Mutant(
        name="call-takes-a-slot-that-is-not-there",
        file=_MOVES,
        text="        or_(_SLOTS == _ZERO, AT_ONCE.is_(None), LimitRow.used < AT_ONCE),\n",
        instead="",
        why="more calls are made at once than the limit has slots",
        tests=(_HOLDS,),
        pick="second_one_finds_none",
    ),
    Mutant(
        name="call-begins-before-its-start-is-due",
        file=_MOVES,
        text='        _due <= clock() + bindparam("most", type_=Float()),\n',
        instead='        _ZERO <= clock() + bindparam("most", type_=Float()),\n',
        why="a call takes a start that is later than it can wait, and its job holds a worker for nothing",
        tests=("tests/ledger/test_timed_calls.py",),
    ),
    Mutant(
        name="call-does-not-pay",
        file=_MOVES,
        text="func.coalesce(greatest(LimitRow.rate_due, _start) + RATE.gap, LimitRow.rate_due)",
        instead="LimitRow.rate_due",
        why="calls begin beside the starts of jobs, over the rate",
        tests=("tests/ledger/test_timed_calls.py",),
        pick="window",
    ),
    Mutant(
        name="job-of-a-timed-call-begins-unpaid",
        file=_LIMITS,
        text='        pays=or_(JobRow.pays, bindparam("is_timed", type_=Boolean())),\n',
        instead="",
        why="a job that waited for the start of its call begins without one",
        tests=("tests/ledger/test_timed_calls.py",),
        pick="stands_in_the_line",
    ),
    Mutant(
        name="call-does-not-lock-its-job",
        file=_MOVES,
        text="    .where(MINE)\n    .with_for_update(read=True)\n",
        instead="    .where(MINE)\n",
        why="an attempt that is rescued beside it takes a slot",
        tests=(_RACES,),
        pick="gets_no_slot",
    ),
    Mutant(
        name="caretakers-free-one-hold-each",
        file=_MOVES,
        text=".order_by(HoldRow.id).with_for_update(skip_locked=True)",
        instead=".order_by(HoldRow.id)",
        why="two who find one hold count its slot down twice",
        tests=(_RACES,),
        pick="free_each_slot_once or keep_the_slot_of_a_lost",
    ),
    Mutant(
        name="slot-of-a-call-under-way-is-free",
        file=_MOVES,
        text="SPENT_HOLD = and_(or_(HoldRow.until.is_(None), HoldRow.until <= now()), _is_over)",
        instead="SPENT_HOLD = or_(HoldRow.until.is_(None), HoldRow.until <= now())",
        why="a caretaker gives the slot of a running call to another one",
        tests=(_HOLDS,),
        pick="left_behind",
    ),
    Mutant(
        name="kept-slot-is-free-at-once",
        file=_MOVES,
        text="SPENT_HOLD = and_(or_(HoldRow.until.is_(None), HoldRow.until <= now()), _is_over)",
        instead="SPENT_HOLD = _is_over",
        why="another attempt runs beside the code of a lost one",
        tests=(_HOLDS,),
        pick="of_a_strict_limit",
    ),
    Mutant(
        name="kept-slot-is-counted-as-free",
        file=_LIMITS,
        text="_last_of(name, spent), kept[name])",
        instead="_last_of(name, spent))",
        why="a slot is kept and given on",
        tests=(_HOLDS,),
        pick="of_a_strict_limit",
    ),
    Mutant(
        name="attempt-that-ended-keeps-its-slot",
        file=_MOVES,
        text="and_(now() < CODE_ENDS_AT, _was_taken_away)",
        instead="and_(now() < CODE_ENDS_AT, CODE_ENDS_AT.is_not(None))",
        why="each attempt of a strict limit keeps its slot until its hard timeout",
        tests=(_HOLDS,),
        pick="ends_by_itself",
    ),
    Mutant(
        name="lost-job-begins-with-the-slot-of-its-lost-attempt",
        file=_TIMED,
        text=", JobRow.due_at <= now(), SLOTS_ARE_ITS_OWN)",
        instead=", JobRow.due_at <= now())",
        why="the next attempt runs beside the code of the lost one, in one slot",
        tests=(_HOLDS,),
        pick="does_not_begin_again",
    ),
    Mutant(
        name="lost-job-is-queued-with-its-slot",
        file=_RESCUES,
        text="        if not decided.delay and moves.any_strict(tx, row.limits):",
        instead="        if False:",
        why="a job that is tried again at once runs beside the code of its lost attempt",
        tests=(_HOLDS,),
        pick="keeps_its_slot_of_a_strict_limit_until",
    ),
    Mutant(
        name="job-takes-its-slots-along-into-another-line",
        file=_ATTEMPTS,
        text="    for awaited in moves.give_back(tx, job_id, 1):\n        tx.then(Admit(awaited))\n",
        instead="",
        why="a job that waits for the slot of a call keeps those that others wait for",
        tests=(_HOLDS,),
        pick="gives_its_slots_back",
    ),
    Mutant(
        name="pruned-with-what-it-holds",
        file=_RETENTION,
        text="            select(HoldRow.id).where(HoldRow.job_id == JobRow.id).exists(),",
        instead="",
        why="a slot that a lost attempt keeps is used for ever",
        tests=(_HOLDS,),
        pick="prune",
    ),
    Mutant(
        name="refusal-in-a-jobs-slot-after-its-end",
        file="agentq/ledger/holds.py",
        text="        if moves.lock_own_job(tx, claim.job_id, claim.job_id, claim.attempt) is not None:\n",
        instead="        if tx is not None:\n",
        why="an attempt that is over closes a limit for all",
        tests=("tests/ledger/test_timed_calls.py",),
        pick="refusal_of_an_attempt",
    ),
    Mutant(
        name="refusal-in-a-jobs-slot-is-forgotten",
        file="agentq/runtime/attempt/slots.py",
        text="            if cool is not None:\n",
        instead="            if False:\n",
        why="a refused call in the slot of its job, which the step catches, closes no limit",
        tests=("tests/testing/test_timed_calls.py",),
        pick="slot_of_its_job",
    ),
]
