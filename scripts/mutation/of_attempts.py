"""Mutants of an attempt's moves: the claim, the fence, retry, release, what is recorded twice."""

from __future__ import annotations

from scripts.mutation.mutant import ATTEMPTS, CARETAKING, GUARDS, Mutant

_CLAIMS = "agentq/ledger/moves/claims.py"
_ATTEMPT = "agentq/ledger/moves/attempt.py"
_READY = "agentq/ledger/moves/ready.py"
_SHARED = "agentq/ledger/moves/shared.py"

MUTANTS = [
    Mutant(
        name="no-fence",
        file=_SHARED,
        text='    JobRow.attempt == bindparam("held_attempt", type_=Integer()),',
        instead='    bindparam("held_attempt", type_=Integer()) > 0,',
        why="a worker that lost its job to a later attempt writes over that one's outcome",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="write-without-status",
        file=_SHARED,
        text="    JobRow.status.is_not_distinct_from(JobStatus.RUNNING),\n    JobRow.attempt == bindparam(",
        instead="    JobRow.attempt == bindparam(",
        why="a worker writes to a job that was cancelled or failed, or records its outcome twice",
        tests=(CARETAKING,),
    ),
    Mutant(
        name="claim-what-runs",
        file=_CLAIMS,
        text="_is_queued = and_(JobRow.status == JobStatus.QUEUED, ~JobRow.pays)\n",
        instead="_is_queued = ~JobRow.pays\n",
        why="a second message runs a job that runs, is done or was cancelled",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-beyond-the-attempts",
        file=_CLAIMS,
        text="                JobRow.attempt < JobRow.max_attempts,\n",
        instead="",
        why="a step that kills its worker runs for ever",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-without-counting",
        file=_CLAIMS,
        text="case((JobRow.status == JobStatus.RUNNING, 0), else_=1)",
        instead="case((JobRow.status == JobStatus.RUNNING, 0), else_=0)",
        why="attempts have one number, so none is fenced off and none is the last",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-under-any-name",
        file=_CLAIMS,
        text="(JobRow.kind == JobKind.STEP, JobRow.step == _NAMED),",
        instead="(JobRow.kind == JobKind.STEP, _NAMED.is_not(None)),",
        why="a forged message runs another step with the job's arguments",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-what-expired",
        file=_CLAIMS,
        text="                or_(JobRow.expires_at.is_(None), JobRow.expires_at > now()),\n",
        instead="",
        why="a job runs after the time until which it had a meaning",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-not-recognised",
        file=_CLAIMS,
        text="JobRow.claim_token == TOKEN),",
        instead="JobRow.claim_token.is_(None)),",
        why="a claim whose reply was lost is nobody's: the job waits for a rescue, and an attempt is lost",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="claim-of-another-recognised",
        file=_CLAIMS,
        text="JobRow.claim_token == TOKEN),",
        instead="JobRow.claim_token.is_not(None)),",
        why="a worker with a copy of the message takes the claim of another for its own",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="early-claim-before-the-hand-over",
        file=_CLAIMS,
        text="    select(_done_before.c.status).scalar_subquery() == JobStatus.SUCCEEDED,\n",
        instead="",
        why="a message that was sent early runs a job whose predecessor is not done",
        tests=("tests/races/test_early_dispatch.py",),
    ),
    Mutant(
        name="early-claim-without-a-lock",
        file=_CLAIMS,
        text="    .with_for_update(read=True)\n",
        instead="",
        why="a message that was sent early comes in vain where the commit takes longer than the message",
        tests=("tests/races/test_early_dispatch.py",),
    ),
    Mutant(
        name="retry-keeps-the-redispatch-pause",
        file=_READY,
        text='        "dispatches": 0,\n    }\n\n\nREADY',
        instead="    }\n\n\nREADY",
        why="the lost message of a later attempt is missed only after minutes",
        tests=(GUARDS,),
        pick="redispatch_pause",
    ),
    Mutant(
        name="retry-at-once",
        file=_ATTEMPT,
        text="ready_or_due(_delay > 0, seconds_from_now(_delay))",
        instead="ready_or_due(_delay > 0, now())",
        why="a provider that asks for a pause gets all attempts at once",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="release-costs-an-attempt",
        file=_ATTEMPT,
        text='    "max_attempts": JobRow.max_attempts + 1,',
        instead='    "max_attempts": JobRow.max_attempts,',
        why="each deployment uses up an attempt of what runs",
        tests=(CARETAKING,),
    ),
    Mutant(
        name="lost-reply-not-recognised",
        file="agentq/ledger/attempts.py",
        text="    if tx.connection.execute(found).one_or_none() is None:",
        instead="    if True:",
        why="an outcome whose commit got no answer is discarded, and the jobs after it are not dispatched",
        tests=(ATTEMPTS,),
    ),
    Mutant(
        name="lost-job-taken-for-lost-reply",
        file="agentq/ledger/attempts.py",
        text="    if tx.connection.execute(found).one_or_none() is None:",
        instead="    if False:",
        why="a worker that lost its job believes that its outcome counts",
        tests=(ATTEMPTS,),
    ),
]
