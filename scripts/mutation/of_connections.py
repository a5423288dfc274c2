"""Mutants of how the ledger is reached: isolation, locks, forks, tries after a lost reply."""

from __future__ import annotations

from scripts.mutation.mutant import GUARDS, SESSION, Mutant

_SESSION = "agentq/ledger/db/session.py"

MUTANTS = [
    Mutant(
        name="isolation-left-to-the-database",
        file="agentq/ledger/db/postgresql.py",
        text='        "default_transaction_isolation": r"read\\ committed",\n',
        instead="",
        why="guarded updates fail, or miss what another transaction did, where the database's default is stricter",
        tests=(SESSION,),
        pick="read_committed",
    ),
    Mutant(
        name="lock-at-the-first-write",
        file=_SESSION,
        text='BEGIN_READING, BEGIN_WRITING = "BEGIN", "BEGIN IMMEDIATE"',
        instead='BEGIN_READING, BEGIN_WRITING = "BEGIN", "BEGIN"',
        why="on SQLite, a process that reads first and then writes fails when another one wrote in between",
        tests=(GUARDS,),
        pick="lock",
    ),
    Mutant(
        name="fork-in-a-transaction",
        file=_SESSION,
        text="contextlib.nullcontext() if self.is_postgresql else ForkGate(self.close)",
        instead="contextlib.nullcontext()",
        why="a child of the pool inherits a lock on SQLite for ever: its writes find the database locked",
        tests=(GUARDS,),
        pick="fork",
    ),
    Mutant(
        name="deadlock-not-retried",
        file="agentq/ledger/db/errors.py",
        text='    "40P01",  # deadlock\n',
        instead="",
        why="of two writers that wait for each other, one loses its outcome",
        tests=(SESSION,),
        pick="deadlock",
    ),
    Mutant(
        name="start-under-a-new-id",
        file="agentq/runtime/start/starts.py",
        text="write(work)\n    else:",
        instead=(
            "write(lambda tx: [one.workflow.update(id=uuid.uuid4()) or [row.update(id=uuid.uuid4(), "
            "workflow_id=one.workflow['id']) for row in one.builder.rows] for one in plans] "
            "and work(tx))\n    else:"
        ),
        why="a start whose commit got no answer is tried again, and runs twice",
        tests=(GUARDS,),
        pick="Starts",
    ),
]
