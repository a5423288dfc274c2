"""Refused messages in the ledger: those that are alike are one dead letter, which counts them."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property

from sqlalchemy import select

from agentq.exceptions import NotFound, StateConflict
from agentq.ledger import moves
from agentq.ledger.models import DeadLetterRow
from agentq.ledger.transaction import Transaction
from agentq.states import DeadLetterKind, DeadLetterStatus


class Refusal(StrEnum):
    """The reason why no worker can take a message; the category of its dead letter."""

    UNDECODABLE = "undecodable"
    """It cannot be read: no envelope, no JSON, or a serializer that is not accepted."""
    UNKNOWN_TASK = "unknown_task"
    """No task of its name is registered in the worker that it came to."""
    REFUSED = "refused"
    """It can be read, but asks for nothing that can be done, such as a job that does not exist."""


@dataclass(frozen=True)
class RefusedMessage:
    """A message that no worker can take; with all that are alike, one dead letter."""

    refusal: Refusal
    task: str
    queue: str
    content_type: str
    tenant: str
    error_class: str
    error_message: str
    snapshot: str = "null"
    """The readable content of the message, as JSON text, without secrets."""

    @cached_property
    def digest(self) -> str:
        """The digest that alike messages share; their bodies do not count, or a flood would be a row each."""
        alike = (self.refusal, self.error_class, self.task, self.queue, self.content_type, self.tenant)
        return hashlib.sha256(json.dumps(alike).encode()).hexdigest()


def count(tx: Transaction, message: RefusedMessage, messages: int = 1) -> None:
    """Write the dead letter of *messages* that are alike, or count them on the one that is there.

    The first one's snapshot stands. A letter that was closed opens again, and its handlers are called again. A
    write that is tried again since its commit got no answer counts twice.
    """
    fields = asdict(message)
    values = {name: fields[name] for name in ("tenant", "error_class", "error_message", "snapshot")}
    values |= {"step": message.task, "error_category": message.refusal, "digest": message.digest}
    moves.open_message_letter(tx, {**values, "messages": messages})


def cancel(tx: Transaction, letter_id: uuid.UUID, *, actor: str, reason: str) -> None:
    """Close a dead letter of messages: nothing more will be done about them. More of them open it again.

    Who and why are kept as its owner and note, since it has no workflow to keep actions with.

    Raises NotFound, or StateConflict where it is not open.
    """
    if moves.close_message_letter(tx, letter_id, actor=actor, reason=reason):
        return
    found = tx.connection.scalar(
        select(DeadLetterRow.status).where(
            DeadLetterRow.id == letter_id, DeadLetterRow.kind == DeadLetterKind.MESSAGE
        )
    )
    if found is None:
        raise NotFound(
            f"no dead letter of messages has the id {letter_id}; list them with: agentq dead-letters list"
        )
    raise StateConflict(f"dead letter {letter_id}", expected=[DeadLetterStatus.OPEN], found=found)
