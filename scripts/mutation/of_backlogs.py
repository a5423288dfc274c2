"""Mutants of caps: what refuses a start where too much is open, or waits."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_BACKLOG = "tests/ledger/test_backlog.py"
_INSERTION = "agentq/ledger/insertion.py"
_STARTS = "agentq/ledger/starts.py"

MUTANTS = [
    Mutant(
        name="tenant-has-room-always",
        file=_INSERTION,
        text="those.where(CONDITIONS[guard])",
        instead="those",
        why="a tenant opens more workflows than it may",
        tests=(_BACKLOG,),
        pick="over_the_cap",
    ),
    Mutant(
        name="step-has-room-always",
        file=_STARTS,
        text="        written_at = {} if is_full else _insert(",
        instead="        written_at = _insert(",
        why="more jobs of a step wait than may",
        tests=(_BACKLOG,),
        pick="as_many_jobs_of_its_step",
    ),
    Mutant(
        name="room-for-some-is-enough",
        file=_STARTS,
        text="        coming = [*left, *later]\n",
        instead="        coming = left\n",
        why="some of many workflows are written into the caller's transaction, and the others refused",
        tests=(_BACKLOG,),
        pick="more_than_one_statement",
    ),
    Mutant(
        name="workflow-needs-room-twice",
        file=_INSERTION,
        text='        places = room["places"] - len(written)',
        instead='        places = room["places"]',
        why="many workflows that there is room for are refused",
        tests=(_BACKLOG,),
        pick="together_or_not_at_all",
    ),
    Mutant(
        name="known-key-needs-room",
        file=_STARTS,
        text="        left = [plan for plan in left if plan.point.workflow_id not in started]\n",
        instead="",
        why="a start that was done before is refused when it is repeated",
        tests=(_BACKLOG,),
        pick="known_key",
    ),
    Mutant(
        name="ended-workflows-count",
        file="agentq/ledger/backlog.py",
        text="    WorkflowRow.status == WorkflowStatus.RUNNING,\n    WorkflowRow.deferred_on.is_(None),\n",
        instead="    WorkflowRow.deferred_on.is_(None),\n",
        why="a tenant that has had as many workflows as may be open starts none any more",
        tests=(_BACKLOG,),
        pick="have_ended",
    ),
    Mutant(
        name="messages-are-refused",
        file="agentq/runtime/entry/adoption.py",
        text="            on_full=None,\n",
        instead="",
        why="a message of another sender is lost where its tenant has no room",
        tests=("tests/runtime/test_adopted_code.py",),
        pick="no_room",
    ),
]
