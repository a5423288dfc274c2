"""Health: the missing, misconfigured or stuck things that the ledger can show."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from enum import StrEnum
from functools import partial

from pydantic import BaseModel, ConfigDict

from agentq.exceptions import AgentqError
from agentq.ledger import knowledge, workers
from agentq.ledger.db import schema
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import health, queues
from agentq.ledger.queries import workers as worker_queries
from agentq.states import JobKind

OLDEST_POSTGRESQL = 14
OLDEST_SQLITE = (3, 35)  # the first with RETURNING, which every claim uses
LONG_WAIT = 300.0
"""Seconds after which a job that no worker claims is worth a finding."""
LATE = 60.0
"""Seconds after which a job that was due should have been dispatched."""
_VERSION = ("server_version", "server_version_num")
_ISOLATION = "transaction_isolation"
_LOSSES = {
    "synchronous_commit": "a crash of the server can lose the last workflows that start() returned",
    "fsync": "a crash of its machine can corrupt the ledger",
}
"""Settings of PostgreSQL, each with what may happen where it is off."""


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(BaseModel):
    """One check: its result, and the fix where it is not ok."""

    model_config = ConfigDict(frozen=True)

    level: Level
    subject: str
    what: str
    fix: str = ""


def ok(subject: str, what: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(level=Level.OK, subject=subject, what=what)


def warning(subject: str, what: str, fix: str) -> Finding:
    """Return a finding to think about."""
    return Finding(level=Level.WARNING, subject=subject, what=what, fix=fix)


def error(subject: str, what: str, fix: str = "") -> Finding:
    """Return a finding with which agentq does not work, or loses its promises."""
    return Finding(level=Level.ERROR, subject=subject, what=what, fix=fix)


def examine(ledger: Ledger) -> Iterator[Finding]:
    """Look at the ledger, its schema, its workers and its jobs; stops where the rest cannot be known."""
    try:
        ledger.write(lambda tx: schema.require_writable(tx.connection), wait_timeout=0)
    except AgentqError as failure:
        yield error("ledger", str(failure))
        return
    yield ok("ledger", f"{ledger.url.render_as_string(hide_password=True)} answers and takes transactions")
    yield from (_postgresql if ledger.is_postgresql else _sqlite)(ledger)
    try:
        ledger.read(schema.require_current)
        ledger.write(workers.write_nothing, wait_timeout=0)
    except AgentqError as failure:
        yield error("schema", str(failure))
        return
    yield ok("schema", f"revision {schema.REVISION}, as this code expects")
    for check in (_workers, _waiting, _unknown, _left, _stuck):
        yield from check(ledger)


def worker_names(ledger: Ledger, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the host names of workers by their ids."""
    return ledger.read(partial(worker_queries.names, ids=ids))


def _sqlite(ledger: Ledger) -> Iterator[Finding]:
    version = ledger.read(health.sqlite_version)
    if tuple(map(int, version.split(".")[:2])) < OLDEST_SQLITE:
        yield error("database", f"SQLite {version} has no RETURNING", "use a Python with SQLite 3.35 or later")
    mode = ledger.read(health.journal_mode)
    if mode == "wal":
        yield ok("database", f"SQLite {version}, journal mode wal, one writer at a time")
    else:
        yield warning(
            "database",
            f"SQLite {version} is in journal mode {mode}, so readers and writers wait for each other",
            "keep the ledger on a local disk, where write-ahead logging works",
        )


def _postgresql(ledger: Ledger) -> Iterator[Finding]:
    settings = ledger.read(partial(health.settings, names=(*_VERSION, _ISOLATION, *_LOSSES)))
    text, number = (settings[name] for name in _VERSION)
    if int(number) < OLDEST_POSTGRESQL * 10_000:
        yield warning(
            "database",
            f"PostgreSQL {text} is older than agentq is tested with",
            f"upgrade to {OLDEST_POSTGRESQL} or later",
        )
    isolation = settings[_ISOLATION]
    if isolation == "read committed":
        yield ok("database", f"PostgreSQL {text}, isolation level read committed")
    else:
        yield error(
            "database",
            f"transactions run at {isolation}, where joins can be counted wrong",
            "let agentq connect to PostgreSQL itself, or to a pooler that passes SET on",
        )
    for name, loss in _LOSSES.items():
        if settings[name] == "off":
            yield warning("database", f"{name} is off: {loss}", f"turn {name} on for this database")


def _workers(ledger: Ledger) -> Iterator[Finding]:
    alive = ledger.read(worker_queries.alive)
    if not alive:
        yield warning("workers", "no worker is alive, so nothing runs", "start one: agentq up -A MODULE")
        return
    yield ok("workers", f"{len(alive)} alive: {', '.join(sorted({row.hostname for row in alive}))}")
    for row in alive:
        if row.refused_messages:
            yield warning(
                "workers",
                f"{row.hostname} refused {row.refused_messages} message(s) of other programs, "
                "or of jobs that this ledger does not have",
                "look into its log for what they were; does another project use the same broker and queues?",
            )


def _waiting(ledger: Ledger) -> Iterator[Finding]:
    loads = ledger.read(queues.loads)
    ages = {name: load.oldest_seconds or 0.0 for name, load in loads.items()}
    long = [name for name, age in ages.items() if age > LONG_WAIT]
    for name in long:
        yield warning(
            "queues",
            f"{loads[name].queued} job(s) wait on queue {name!r}, the oldest for {ages[name] / 60:.0f} min",
            f"more workers, or one that consumes it: celery -A MODULE worker -Q {name}",
        )
    if not long:
        yield ok("queues", f"{sum(load.queued for load in loads.values())} job(s) queued, none for long")


def _unknown(ledger: Ledger) -> Iterator[Finding]:
    live, waiting = ledger.read(lambda connection: (knowledge.live(connection), queues.jobs_by_step(connection)))
    for need, jobs in sorted(waiting.items()):
        asked = live.ask(need)
        if asked is not None and asked.consuming and not asked.fitting:
            again = f"step(name={need.step!r})" if need.kind == JobKind.STEP else f"app.task(name={need.step!r})"
            yield warning(
                "steps",
                f"{jobs} job(s) on queue {need.queue!r} wait: {asked.says_no_worker_knows(need)}",
                "start a worker of the release that has it; or give what it is called now its old name too: "
                f"{again}(function); or cancel the jobs: agentq jobs list --step {need.step}",
            )


def _left(ledger: Ledger) -> Iterator[Finding]:
    left = ledger.read(queues.jobs_left)
    live = ledger.read(knowledge.live) if left else knowledge.NO_WORKERS
    for need, jobs in sorted(left.items()):
        asked = live.ask(need)
        what = f"{jobs} job(s) of {need.kind} {need.step!r} on queue {need.queue!r} were left for their arguments"
        said = "" if asked is None else f": {asked.says_how_many_take()}"
        if asked is not None and asked.fitting:
            yield ok("steps", what + said)
            continue
        yield warning(
            "steps",
            what + said,
            "start a worker of the release that started them; or give the parameters that differ a default; else "
            "they fail as invalid_arguments after agentq_release_grace, and their dead letters can be edited: "
            f"agentq jobs list --step {need.step}",
        )


def _stuck(ledger: Ledger) -> Iterator[Finding]:
    late = ledger.read(partial(health.late_jobs, seconds=LATE))
    orphaned = ledger.read(health.orphaned_jobs)
    for subject, jobs, what in (
        ("schedule", late, f"were due more than {LATE:.0f} s ago and were not dispatched"),
        ("attempts", orphaned, "are held by workers whose lease is over"),
    ):
        if jobs:
            yield warning(subject, f"{jobs} job(s) {what}", "a live worker's caretaker fixes this: is one alive?")
