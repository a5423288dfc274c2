"""The faults, and the phases at which they come: the rows and columns of the matrix in docs/reliability.md.

A test says which cells it covers: ``@covers(Fault.FLUSH, Phase.DISPATCH, Phase.BODY)``.
"""

from __future__ import annotations

from enum import StrEnum

import pytest


class Fault(StrEnum):
    """One row of the matrix."""

    KILL_WORKER = "the whole worker is killed"
    KILL_CHILD = "the process that runs the step is killed"
    FREEZE = "the worker is frozen past its lease"
    STOP = "the worker is asked to stop"
    LOSE_MESSAGE = "the broker loses a message"
    DUPLICATE = "a message is delivered twice"
    FLUSH = "the broker is emptied or restarted"
    CUT_BROKER = "connections to the broker are cut"
    BROKER_DOWN = "the broker is down"
    LEDGER_DOWN = "the ledger is down or restarted"
    CUT_LEDGER = "connections to the ledger are cut"
    LOSE_REPLY = "a commit's reply is lost"
    CONFLICT = "a lock, a deadlock or a race with another writer"
    BAD_VALUE = "a value or an error text that cannot be stored"


class Phase(StrEnum):
    """One column of the matrix."""

    START = "start"
    DISPATCH = "dispatch"
    CLAIM = "claim"
    BODY = "in the step"
    EFFECT = "after its effect"
    COMPLETION = "completion"
    HAND_OVER = "hand-over"
    ACKNOWLEDGE = "acknowledge"
    FAN_OUT = "fan-out"
    FAN_IN = "fan-in"
    RETRY = "retry"
    CANCEL = "cancel"
    DEAD_LETTER = "dead letter"
    REPLAY = "replay"
    SWEEP = "caretaker's sweep"
    IDLE = "idle worker"


def covers(fault: Fault, *phases: Phase) -> pytest.MarkDecorator:
    """Mark a test as the one that shows what happens when *fault* comes at *phases*."""
    return pytest.mark.covers(fault, *phases)


_IN_THE_CALLER = "it happens in the process of the caller or the operator, not in a worker's"
_IN_THE_PARENT = "it happens in the worker's main process"
_RUNS_NOTHING = "what runs nothing holds nothing"
_AT_DISPATCH = "its messages are sent at its dispatch"
_LEDGER_ONLY = "it is a statement to the ledger, in which the broker has no part"
_BROKER_ONLY = "it is an exchange with the broker, in which the ledger has no part"
_RESERVED = "a message that was taken from the broker cannot be lost there"
_NO_WRITE = "nothing is written then but what the step itself writes"
_NO_VALUE = "no value passes there that was not checked before"
_AS_IN_THE_STEP = "it is the same as in the step"

_BY_REASON: dict[str, dict[Fault, tuple[Phase, ...]]] = {
    _IN_THE_CALLER: {
        Fault.KILL_CHILD: (Phase.START, Phase.REPLAY),
        Fault.FREEZE: (Phase.START, Phase.REPLAY),
        Fault.STOP: (Phase.START, Phase.REPLAY),
    },
    _IN_THE_PARENT: {Fault.KILL_CHILD: (Phase.ACKNOWLEDGE, Phase.SWEEP)},
    _RUNS_NOTHING: dict.fromkeys((Fault.KILL_WORKER, Fault.KILL_CHILD, Fault.STOP), (Phase.IDLE,)),
    _AT_DISPATCH: dict.fromkeys((Fault.LOSE_MESSAGE, Fault.DUPLICATE, Fault.FLUSH), (Phase.START,)),
    _RESERVED: {Fault.LOSE_MESSAGE: (Phase.BODY, Phase.ACKNOWLEDGE)},
    _LEDGER_ONLY: {
        Fault.LOSE_MESSAGE: (Phase.COMPLETION,),
        Fault.FLUSH: (Phase.CLAIM, Phase.COMPLETION),
        Fault.CUT_BROKER: (Phase.CLAIM, Phase.COMPLETION),
        Fault.BROKER_DOWN: (Phase.CLAIM,),
    },
    _BROKER_ONLY: dict.fromkeys(
        (Fault.LEDGER_DOWN, Fault.CUT_LEDGER, Fault.LOSE_REPLY, Fault.CONFLICT),
        (Phase.DISPATCH, Phase.ACKNOWLEDGE),
    ),
    _NO_WRITE: {Fault.LOSE_REPLY: (Phase.BODY, Phase.EFFECT), Fault.CONFLICT: (Phase.EFFECT,)},
    _NO_VALUE: {
        Fault.BAD_VALUE: (Phase.DISPATCH, Phase.CLAIM, Phase.ACKNOWLEDGE, Phase.SWEEP, Phase.IDLE),
    },
    _AS_IN_THE_STEP: dict.fromkeys(
        (
            *(Fault.LOSE_MESSAGE, Fault.DUPLICATE, Fault.FLUSH, Fault.CUT_BROKER, Fault.BROKER_DOWN),
            *(Fault.LEDGER_DOWN, Fault.CUT_LEDGER, Fault.BAD_VALUE),
        ),
        (Phase.EFFECT,),
    ),
}
SENSELESS: dict[tuple[Fault, Phase], str] = {
    (fault, phase): reason
    for reason, faults in _BY_REASON.items()
    for fault, phases in faults.items()
    for phase in phases
}
"""Cells in which there is nothing to be tested, and why."""
