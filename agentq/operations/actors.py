"""The actor of an operation, and the reason."""

from __future__ import annotations

import getpass
import uuid
from typing import TypedDict

from agentq.ids import new_id
from agentq.redaction import clean

NO_REASON = "no reason given"
LONGEST_REASON = 4_000
_LONGEST_ACTOR = 255


class OperatorAction(TypedDict):
    """The actor, the reason and the id of an operator's action; the id is the same each time that it is tried."""

    actor: str
    reason: str
    action_id: uuid.UUID


def operator_action(actor: str, reason: str) -> OperatorAction:
    """Return the actor and the reason of an action, storable on every ledger, with an id of its own.

    Named once, so that an action whose commit got no answer and is tried again is the same one.
    """
    who = clean(actor or current_user(), _LONGEST_ACTOR)
    return {"actor": who, "reason": clean(reason, LONGEST_REASON) or NO_REASON, "action_id": new_id()}


def current_user() -> str:
    """Return the name of the process's user, or "unknown" where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"
