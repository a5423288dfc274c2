"""Mutants of caps: what refuses a start where too much is open, or waits."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_BACKLOG = "tests/ledger/test_backlog.py"
_CAPS = "agentq/ledger/backlog.py"
_POSTPONED = "tests/ledger/test_postponed.py"
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
        text='        places = asked["places"] - len(written)',
        instead='        places = asked["places"]',
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
        text="    WorkflowRow.status == WorkflowStatus.RUNNING,\n    WorkflowRow.postponed_on.is_(None),\n",
        instead="    WorkflowRow.postponed_on.is_(None),\n",
        why="a tenant that has had as many workflows as may be open starts none any more",
        tests=(_BACKLOG,),
        pick="have_ended",
    ),
    Mutant(
        name="postponement-never-looks-for-room",
        file=_STARTS,
        text="        tx.then(LetIn(postponement.line))  # there may be room by the time that others see it\n",
        instead="        pass\n",
        why="a workflow that was postponed beside the last end waits for a caretaker",
        tests=(_POSTPONED,),
        pick="looks_for_room",
    ),
    Mutant(
        name="postponement-looks-before-its-commit",
        file=_STARTS,
        text="        tx.then(LetIn(postponement.line))  # there may be room by the time that others see it\n",
        instead="        backlog.room_of(tx.connection, postponement.line, 1)\n",
        why="an end beside a postponement and the postponement do not see each other",
        tests=("tests/races/test_postponed.py",),
        pick="beside_the_end",
    ),
    Mutant(
        name="end-lets-nothing-in",
        file="agentq/ledger/moves/workflow.py",
        text="    if line is not None:\n        tx.then(LetIn(line))\n",
        instead="",
        why="each postponed workflow waits for a caretaker",
        tests=(_POSTPONED,),
        pick="the_next_one_in",
    ),
    Mutant(
        name="room-is-counted-before-the-lock",
        file="agentq/ledger/postponed.py",
        text="    for workflow in waiting[:room]:",
        instead="    for workflow in waiting[:most]:",
        why="processes that let workflows in beside each other open more than may be",
        tests=("tests/races/test_postponed.py",),
        pick="no_more_than_there_is_room_for",
    ),
    Mutant(
        name="postponed-workflows-count-as-open",
        file=_CAPS,
        text="    WorkflowRow.postponed_on.is_(None),\n",
        instead="",
        why="what waits for room takes it, and nothing is let in",
        tests=(_POSTPONED,),
        pick="the_next_one_in",
    ),
    Mutant(
        name="postponed-jobs-count-into-their-own-backlog",
        file=_CAPS,
        text="    or_(JobRow.blocked_by.is_(None), JobRow.blocked_by != BlockedBy.BACKLOG),\n",
        instead="",
        why="what waits for the backlog of a step to shrink keeps it full",
        tests=(_POSTPONED,),
        pick="until_fewer_jobs_do",
    ),
    Mutant(
        name="start-overtakes-what-is-postponed",
        file=_CAPS,
        text="    (_cap.is_(None), true()), (awaited_line(_TENANT).is_not(None), false()), else_",
        instead="    (_cap.is_(None), true()), else_",
        why="new starts take the places for which older ones wait",
        tests=(_POSTPONED,),
        pick="overtakes",
    ),
    Mutant(
        name="moved-job-leaves-its-postponement",
        file="agentq/ledger/moves/ready.py",
        text=", ~func.coalesce(is_postponed, false()))",
        instead=")",
        why="a job that is moved to another queue begins over the cap",
        tests=(_POSTPONED,),
        pick="moved_to_another_queue",
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
