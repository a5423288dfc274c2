"""Mutants of rates and tokens: what lets a job start at its time, and pay once for that."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_RATES = "tests/ledger/test_rates.py"
_RACES = "tests/races/test_rates.py"
_ATTEMPTS = "agentq/ledger/attempts.py"
_CLAIMS = "agentq/ledger/moves/claims.py"
_METERS = "agentq/ledger/moves/meters.py"
_PACE = "agentq/ledger/moves/pace.py"
_PACED = "agentq/ledger/moves/paced_admission.py"
_PAID = "agentq/ledger/moves/paid_claims.py"
_SLOT = "agentq/ledger/moves/slot_handover.py"
_TYPES = "agentq/ledger/db/types.py"

MUTANTS = [
    Mutant(
        name="lost-claim-pays-twice",
        file=_PAID,
        text="    names = select(locked.c.limits).where(locked.c.status == JobStatus.QUEUED).scalar_subquery()",
        instead="    names = select(locked.c.limits).scalar_subquery()",
        why="a claim whose reply was lost pays for its start once more, and the rate is not reached",
        tests=(_RATES,),
        pick="pays_once and postgresql",
    ),
    Mutant(
        name="clock-of-the-statement",
        file=_TYPES,
        text='    return "extract(epoch FROM clock_timestamp())::float8"',
        instead='    return "extract(epoch FROM statement_timestamp())::float8"',
        why="a claim that waited for the limit goes by the time before that",
        tests=(_RACES,),
        pick="reads_the_clock",
    ),
    Mutant(
        name="start-without-paying",
        file=_CLAIMS,
        text="_is_queued = and_(JobRow.status == JobStatus.QUEUED, ~JobRow.pays)",
        instead="_is_queued = JobRow.status == JobStatus.QUEUED",
        why="a message without its header starts a job over the rate",
        tests=(_RATES,),
        pick="no_authority",
    ),
    Mutant(
        name="stale-attempt-gives-tokens-back",
        file=_SLOT,
        text="        .where(LimitRow.name == LIMIT, _is_done(done))",
        instead="        .where(LimitRow.name == LIMIT)",
        why="a worker that was taken for dead changes the tokens, and the slots, of a job that is another's",
        tests=(_RATES,),
        pick="gives_no_tokens_back",
    ),
    Mutant(
        name="stale-outcome-gives-tokens-back",
        file=_ATTEMPTS,
        text="    if lost is not None:\n",
        instead="    if lost is not None:\n        moves.reconcile(tx, more)\n",
        why="an outcome that is discarded, or was recorded before, changes the tokens",
        tests=(_RATES,),
        pick="gives_no_tokens_back or counts_its_tokens_once",
    ),
    Mutant(
        name="limits-not-locked-by-the-claim",
        file=_PAID,
        text='        .with_for_update(key_share=True)\n        .cte("paces")',
        instead='        .cte("paces")',
        why="two claims take the one start that is left",
        tests=(_RACES,),
        pick="takes_the_start",
    ),
    Mutant(
        name="shortest-wait-decides",
        file=_PAID,
        text="order_by(waits.c.seconds.desc())",
        instead="order_by(waits.c.seconds)",
        why="a job of two rates starts when one of them lets it",
        tests=(_RATES,),
        pick="pays_both_or_none and postgresql",
    ),
    Mutant(
        name="large-estimate-never-goes",
        file=_PAID,
        text="(tokens - greatest(pace.tokens_burst, tokens))",
        instead="(tokens - pace.tokens_burst)",
        why="a job that needs more tokens than may come at once waits for ever",
        tests=(_RATES,),
        pick="over_the_bucket",
    ),
    Mutant(
        name="early-job-keeps-its-slot",
        file=_PAID,
        text='        "held": case((is_taken, JobRow.held), else_=_ZERO),\n',
        instead="",
        why="a job that waits for its time holds slots that others could use",
        tests=(_RATES,),
        pick="too_early",
    ),
    Mutant(
        name="messages-beyond-the-rate",
        file=_METERS,
        text=" - LimitRow.outstanding\n",
        instead="\n",
        why="the broker holds more jobs than can start soon",
        tests=(_RATES,),
        pick="counts_within_the_rate or no_more_jobs_have_a_message",
    ),
    Mutant(
        name="many-pacers-of-one-limit",
        file=_PACE,
        text="MAY_PACE = and_(LimitRow.is_awaited, _is_timed, or_(LimitRow.paced_by == PACER, _is_free))",
        instead="MAY_PACE = and_(LimitRow.is_awaited, _is_timed)",
        why="each caretaker looks at each limit at its time",
        tests=(_RATES,),
        pick="one_caretaker_at_a_time",
    ),
    Mutant(
        name="next-start-left-to-a-pacer-that-sleeps",
        file=_SLOT,
        text="or_(gives_room, func.coalesce(~IS_PACED_SOON, true()))",
        instead="gives_room",
        why="a start that is due waits until the pacer has slept",
        tests=(_RATES,),
        pick="leaves_the_next_job",
    ),
    Mutant(
        name="paced-tenant-takes-two-starts-of-one",
        file=_PACED,
        text="(room + tenants - one) // greatest(tenants, one)",
        instead="(room + tenants - one) / greatest(tenants, one)",
        why="the number is rounded up: the first tenants take the starts of those after them",
        tests=(_RATES,),
        pick="due_together and postgresql",
    ),
]
