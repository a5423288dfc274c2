"""Burial: in the transaction of a job's final failure, open its dead letter and end its workflow."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from agentq.ledger import transition


def bury(connection: Connection, workflow_id: uuid.UUID, job_id: uuid.UUID, *, needs_person: bool = False) -> None:
    """Open the dead letter of a job that has just failed for good, and fail its workflow.

    What depends on the job keeps waiting: after a replay the workflow goes on where it stopped.
    """
    transition.open_letter(connection, job_id, needs_person=needs_person)
    transition.fail_workflow(connection, workflow_id, job_id)
