"""Mutants of what makes a workflow go on and end: hand-over, fan-in, cancel, dead letters, replay."""

from __future__ import annotations

from scripts.mutation.mutant import (
    CARETAKING,
    GUARDS,
    HANDING_OVER,
    PARTS,
    RACES_OF_DEAD_LETTERS,
    Mutant,
)

_ATTEMPTS = "agentq/ledger/attempts.py"
_DEAD_LETTER = "agentq/ledger/transition/dead_letter.py"
_EXECUTOR = "agentq/runtime/executor.py"
_GRAPH = "agentq/ledger/transition/graph.py"
_PLAIN = "agentq/ledger/transition/plain.py"
_WORKFLOW = "agentq/ledger/transition/workflow.py"
_COMPLETE = """        status=case((JobRow.remaining {0}, JobStatus.SUCCEEDED), else_=JobRow.status),
        finished_at=case((JobRow.remaining {0}, now())),
"""
_DONE = "            done = Done(held.job_id, held.workflow_id, held.join_id, held.is_last, result)\n"

MUTANTS = [
    Mutant(
        name="hand-over-after-the-commit",
        file=_ATTEMPTS,
        text=_DONE,
        instead=f'            connection.exec_driver_sql("COMMIT")\n{_DONE}',
        why="a crash between the two leaves a job that is done and a successor that nobody makes ready",
        tests=(GUARDS,),
        pick="kept_together",
    ),
    Mutant(
        name="publish-before-the-commit",
        file=_EXECUTOR,
        text="lambda connection: attempts.record(connection, claim, outcome), patience=patience)",
        instead="lambda c: [h := attempts.record(c, claim, outcome), self._agentq.dispatcher.ring(h.bells)][0])",
        why="a worker gets the message before the job can be claimed, and drops it",
        tests=(GUARDS,),
        pick="rung",
    ),
    Mutant(
        name="publish-nothing",
        file=_EXECUTOR,
        text="        self._agentq.dispatcher.ring(handed.bells)\n",
        instead="",
        why="each step waits until a caretaker finds its message lost",
        tests=(GUARDS,),
        pick="rung",
    ),
    Mutant(
        name="drop-without-ringing",
        file=_EXECUTOR,
        text="            self._agentq.dispatcher.ring(bells)\n",
        instead="",
        why="a worker that dies between commit and publish delays what follows until a caretaker looks",
        tests=(GUARDS,),
        pick="rings",
    ),
    Mutant(
        name="fan-in-too-early",
        file=_GRAPH,
        text="    .values(remaining=JobRow.remaining - 1, deadline_at",
        instead="    .values(remaining=JobRow.remaining - 2, deadline_at",
        why="what follows a group starts before all of its members are done",
        tests=(HANDING_OVER,),
    ),
    Mutant(
        name="fan-in-never",
        file="agentq/ledger/handover.py",
        text="    if row is None or row.remaining > 0:",
        instead="    if row is None or row.remaining >= 0:",
        why="the last member of a group finds the join not complete, and the workflow stops for ever",
        tests=(HANDING_OVER,),
    ),
    Mutant(
        name="fan-in-too-early-in-one-statement",
        file=_PLAIN,
        text=_COMPLETE.format("== 1"),
        instead=_COMPLETE.format("<= 2"),
        why="the same on PostgreSQL, where the common hand-over is one statement",
        tests=(HANDING_OVER,),
        pick="postgresql and join",
    ),
    Mutant(
        name="no-end-in-one-statement",
        file=_PLAIN,
        text=', _ended_by(_done, "ended_by_job")',
        instead="",
        why="on PostgreSQL, a workflow whose last step is done runs for ever",
        tests=(HANDING_OVER,),
        pick="postgresql and chain",
    ),
    Mutant(
        name="cancel-leaves-what-runs",
        file=_WORKFLOW,
        text='"workflow"), JobRow.status.in_(sorted(JOB_OPEN))',
        instead='"workflow"), JobRow.status.in_(sorted(JOB_OPEN - {JobStatus.RUNNING}))',
        why="a running step of a cancelled workflow records its outcome and starts the next",
        tests=(CARETAKING,),
        pick="Cancel",
    ),
    Mutant(
        name="end-what-has-ended",
        file=_WORKFLOW,
        text='    .where(WorkflowRow.id == bindparam("workflow"), WorkflowRow.status == WorkflowStatus.RUNNING)\n',
        instead='    .where(WorkflowRow.id == bindparam("workflow"))\n',
        why="a cancel that comes too late takes the result away",
        tests=(CARETAKING,),
        pick="Cancel",
    ),
    Mutant(
        name="fail-without-dead-letter",
        file="agentq/ledger/handover.py",
        text="    transition.open_letter(connection, dead.id, needs_person=needs_person)\n",
        instead="",
        why="a job that failed for good disappears silently, and nobody can replay it",
        tests=(GUARDS,),
        pick="DeadLetters",
    ),
    Mutant(
        name="lose-a-part-twice",
        file="agentq/ledger/transition/parts.py",
        text="JobRow.is_missing.is_(False), JobRow.status != JobStatus.SUCCEEDED",
        instead="JobRow.status != JobStatus.SUCCEEDED",
        why="two failures in one branch count as two missing parts, and the fan-in goes on too early",
        tests=(PARTS,),
    ),
    Mutant(
        name="go-on-with-too-few-parts",
        file="agentq/ledger/handover.py",
        text="    if row.missing and not _has_enough(connection, row):",
        instead="    if False:",
        why="a fan-in goes on although it lacks parts that it needs",
        tests=(PARTS,),
    ),
    Mutant(
        name="replay-for-nobody",
        file="agentq/ledger/dead_letters.py",
        text="    if not wait_again(connection, job_id):",
        instead="    if wait_again(connection, job_id) is None:",
        why="a dead job is paid for again although its fan-in has gone on without it",
        tests=(PARTS,),
    ),
    Mutant(
        name="close-what-is-closed",
        file=_DEAD_LETTER,
        text="    .where(DeadLetterRow.job_id == _dead_id, DeadLetterRow.status == DeadLetterStatus.OPEN)\n",
        instead="    .where(DeadLetterRow.job_id == _dead_id)\n",
        why="what one person gave up, another one replays without a word",
        tests=(GUARDS,),
        pick="DeadLetters",
    ),
    Mutant(
        name="replay-without-new-attempts",
        file=_DEAD_LETTER,
        text="        max_attempts=JobRow.attempt + func",
        instead="        max_attempts=JobRow.max_attempts + 0 * func",
        why="a replayed job stays queued for ever: no claim takes it",
        tests=(GUARDS,),
        pick="DeadLetters",
    ),
    Mutant(
        name="reopen-beside-a-failed-job",
        file=_WORKFLOW,
        text="        _other_failed.status == JobStatus.FAILED,\n",
        instead="        _other_failed.id.is_(None),\n",
        why="a workflow looks as if it ran, and waits for a job that is dead",
        tests=(GUARDS,),
        pick="DeadLetters",
    ),
    Mutant(
        name="fail-beside-a-replay",
        file=_WORKFLOW,
        text="        WorkflowRow.status.in_([WorkflowStatus.RUNNING, WorkflowStatus.FAILED]),",
        instead="        WorkflowRow.status == WorkflowStatus.RUNNING,",
        why="a failure does not wait for the replay of another job of its workflow, which hides it",
        tests=(RACES_OF_DEAD_LETTERS,),
        pick="hide_a_failure and postgresql",
    ),
]
