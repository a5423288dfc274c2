"""The promises that hold in every state, and the definition of an end."""

# ruff: noqa: F403, F405  (the places and codes of a state are this package's own words)
from __future__ import annotations

from tests.model.state import *

FENCE = "only the attempt that holds a job records its outcome"
MOVE = "a status only moves as the engine's table allows; what is final stays, except by a replay"
OUTCOME = "a job has at most one accepted outcome in a series of attempts"
ATTEMPTS = "a job is claimed no more often than it may be"
ONE_HOLDER = "no two workers hold one attempt"
INPUTS = "the body starts only after all headers are done"
FAN_IN = "a join fires once"
ONE_START = "a start that is tried again starts one workflow"
ONE_CLOSE = "a dead letter is replayed or resolved once"
ONE_LETTER = "each failure has one dead letter"
ONE_RECORD = "a dead letter is recorded once"
LAST_ATTEMPT = "a job that was revoked while it ran is not tried again"
CAUSE = "a job fails only when its step raised, its worker was lost or its time was over"
AGREEMENT = "a workflow has failed exactly when one of its jobs has"
CANCEL = "a cancelled workflow has no open job"
SUCCESS = "a workflow has succeeded exactly when its last job has"
NO_DEAD_END = "where the engine has nothing left to do, the workflow has ended"
NO_LOOP = "whatever order the engine works in, it comes to an end"

ALL = frozenset(
    {
        *(FENCE, MOVE, OUTCOME, ATTEMPTS, ONE_HOLDER, INPUTS, FAN_IN, ONE_START, ONE_CLOSE, ONE_LETTER),
        *(ONE_RECORD, LAST_ATTEMPT, CAUSE, AGREEMENT, CANCEL, SUCCESS, NO_DEAD_END, NO_LOOP),
    }
)

_UNTOUCHED = frozenset({ABSENT, WAITING, CANCELLED})
_CAUSES = slice(BUDGET["crashes"], BUDGET["deadlines"] + 1)


def broken(state: State, initial: State) -> str | None:
    """Return the promise that a state breaks, if any."""
    for job in JOBS:
        if state[job + ATTEMPT]:
            if state[job + OUTCOMES] > 1:
                return OUTCOME
            if state[job + CLAIMS] > state[job + LIMIT] or state[job + ATTEMPT] > state[job + LIMIT]:
                return ATTEMPTS
            if state[job + ATTEMPT] > state[job + LAST] > 0:
                return LAST_ATTEMPT
            if state[job + CLOSES] > state[job + LETTERS]:
                return ONE_CLOSE
            if state[job + LETTERS] != state[job + CLOSES] + (state[job + STATUS] == FAILED):
                return ONE_LETTER
            if state[job + RECORDS] > state[job + LETTERS]:
                return ONE_RECORD
        elif state[job + CLAIMS] > state[job + LIMIT]:
            return ATTEMPTS
    return _broken_together(state, initial)


def _broken_together(state: State, initial: State) -> str | None:
    """Return the promise about the whole workflow that a state breaks, if any."""
    if state[WRONG]:
        return FENCE if state[WRONG] == BROKEN_FENCE else MOVE
    if state[STARTED] > 1:
        return ONE_START
    if (
        state[FIRST + HELD]
        and state[FIRST + JOB : FIRST + DISPATCHES] == state[SECOND + JOB : SECOND + DISPATCHES]
    ):
        return ONE_HOLDER
    if state[BODY + STATUS] not in _UNTOUCHED and not state[HEADER_A] == state[HEADER_B] == SUCCEEDED:
        return INPUTS
    if state[FIRED] > 1:
        return FAN_IN
    workflow, statuses = state[WORKFLOW], (state[HEADER_A], state[HEADER_B], state[BODY])
    if (FAILED in statuses) != (workflow == FAILED):
        return AGREEMENT
    if workflow == FAILED and state[_CAUSES] == initial[_CAUSES]:
        return CAUSE
    if (state[BODY] == SUCCEEDED) != (workflow == SUCCEEDED):
        return SUCCESS
    if workflow == CANCELLED and not OPEN_STATUSES.isdisjoint((*statuses, state[JOIN])):
        return CANCEL
    return None


def is_end(state: State) -> bool:
    """Say whether it is right that the engine does nothing more."""
    return state[WORKFLOW] not in (ABSENT, RUNNING) and all(
        not _is_under_way(state, job) and not state[job + UNRECORDED] for job in JOBS
    )


def _is_under_way(state: State, job: int) -> bool:
    # What is not to be tried again waits in a failed workflow for a replay, which cancels it.
    is_stranded = state[job + LAST] and state[WORKFLOW] == FAILED and state[job + STATUS] != RUNNING
    return state[job + STATUS] in (SCHEDULED, QUEUED, RUNNING) and not is_stranded
