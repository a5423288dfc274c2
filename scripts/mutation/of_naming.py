"""Mutants of naming: what gives a job the names of its limits once, when what they need is known."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_NAMING = "tests/ledger/test_naming.py"
_RACES = "tests/races/test_naming.py"
_INLINE = "tests/testing/test_limits_named_later.py"
_MOVE = "agentq/ledger/moves/naming.py"
_GRAPHS = "agentq/ledger/naming.py"

MUTANTS = [
    Mutant(
        name="limits-are-named-twice",
        file=_MOVE,
        text="    IS_UNNAMED,\n    # Its",
        instead="    # Its",
        why="a second message gives a job that has a slot other names, and blocks it with the slot",
        tests=(_NAMING,),
        pick="given_once",
    ),
    Mutant(
        name="names-of-another-queue",
        file=_MOVE,
        text='    JobRow.queue == bindparam("of_queue", type_=String()),\n',
        instead="",
        why="a job that was moved meanwhile has the limit of its old queue",
        tests=(_NAMING, _RACES),
        pick="queue",
    ),
    Mutant(
        name="unnamed-job-is-claimed",
        file="agentq/ledger/moves/paid_claims.py",
        text="JobRow.pays, ~IS_UNNAMED)",
        instead="JobRow.pays)",
        why="a job runs without a slot of the limits that have no names yet",
        tests=(_NAMING,),
        pick="claims_nothing",
    ),
    Mutant(
        name="unnamed-job-has-no-limits",
        file="agentq/ledger/rows.py",
        text='"limits": node.limits or ([] if node.is_unnamed else None),',
        instead='"limits": node.limits or None,',
        why="a job is claimed without the limits that have no names yet, and may be dispatched early",
        tests=(_NAMING,),
        pick="claims_nothing",
    ),
    Mutant(
        name="branches-are-not-named",
        file=_GRAPHS,
        text="        return naming.name(step, node.queue, tenant, arguments)",
        instead="        return None",
        why="an each under a limit fills the broker with a message for each item",
        tests=(_NAMING,),
        pick="no_more_messages",
    ),
    Mutant(
        name="named-line-is-not-entered",
        file=_GRAPHS,
        text="        tx.then(Enter(row.blocked_on, row.tenant))",
        instead="        pass",
        why="a job that got its names waits for a caretaker",
        tests=(_NAMING,),
        pick="takes_a_slot",
    ),
    Mutant(
        name="named-limits-are-not-declared",
        file=_GRAPHS,
        text="        moves.declare(tx, limits.meters)",
        instead="        pass",
        why="the first job of a key waits for a caretaker to declare its limit",
        tests=(_NAMING,),
        pick="takes_a_slot",
    ),
    Mutant(
        name="key-that-cannot-be-made-runs",
        file="agentq/runtime/attempt/attempt.py",
        text="                raise self._unfit\n",
        instead="                pass\n",
        why="a job whose limits cannot be named runs without them",
        tests=(_INLINE,),
        pick="cannot_be_made",
    ),
    Mutant(
        name="function-of-a-key-lacks-the-result",
        file="agentq/policies/limits/meters.py",
        text="        callable(limit.key)\n        or name",
        instead="        name",
        why="a key function is called at the start, without the argument that the step before gives",
        tests=(_INLINE,),
        pick="items_of_an_each",
    ),
]
