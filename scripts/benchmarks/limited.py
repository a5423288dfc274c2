"""Work whose steps have limits: the share of a limit that is used, and how long a free slot waits for a step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from itertools import chain as chained
from typing import Any

from celery import chain
from sqlalchemy import select

from agentq.ledger import attempts, limits, moves, workers
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow
from agentq.operations import limits as operations
from agentq.outcomes import Succeed
from agentq.policies.limits import Meters
from agentq.states import JobStatus
from benchmarks import filling
from benchmarks.functions import CALL
from benchmarks.place import here
from benchmarks.work import AT_BEST, Figures, percentiles

SLOTS = 10
_OF_TENANT = 100
"""Jobs of each tenant in a line."""
_ELSEWHERE = "elsewhere"
"""A queue that no worker consumes."""

Spans = Sequence[Sequence[float]]
"""The times at which steps began and ended."""


def calls(side: Any, count: int) -> Figures:
    """Run short calls under a limit of ten slots."""
    return _beside_best("10 slots", side, side.call_of[SLOTS], count)


def free_calls(side: Any, count: int) -> Figures:
    """Run short calls without a limit, in as many processes as there are."""
    return _beside_best("10 processes, no limit", side, side.call, count)


def rates(side: Any, seconds: int) -> Figures:
    """Start steps at two rates, each for so long."""
    figures = {}
    for starts, step in side.start_of.items():
        name, gap = f"{starts:,} a minute", 60 / (starts - 1)
        begun = sorted(began for began, _ in _run(side, step, starts * seconds // 60))
        figures |= {name: begun[-1] - begun[0], name + AT_BEST: (len(begun) - 1) * gap}
    return figures


def slots(side: Any, count: int) -> Figures:
    """Time how long a slot is free, from the end of one step to the begin of the next: for one slot, and ten."""
    return _between({number: _run(side, side.call_of[number], count * number) for number in (1, SLOTS)})


def hops(side: Any, count: int) -> Figures:
    """Time the hops of one chain of short calls, and of ten at once."""
    return _between({number: _chains(side, number, count) for number in (1, SLOTS)})


def line_up(side: Any, waiters: int) -> Figures:
    """Let so many jobs of many tenants stand in the line of one slot, none of which a worker takes."""
    step, limit = side.call_of[1], _name_of(side.call_of[1])
    with closing(Ledger(here().ledger or "", timeout=1800, publish=lambda jobs: None)) as ledger:
        ledger.write(lambda tx: moves.declare(tx, {limit: Meters(0)}))
        side.start(step.s().set(queue=_ELSEWHERE))
        filling.multiply(ledger, waiters - 1, tenants=waiters // _OF_TENANT)
        limits.enter_unawaited(ledger)
    return {}


def admissions(side: Any, count: int) -> Figures:
    """End jobs one after the other, each of which admits the next in its line, and time that."""
    step, worker = side.call_of[1], uuid.uuid4()
    with closing(Ledger(here().ledger or "", publish=lambda jobs: None)) as ledger:
        ledger.write(lambda tx: workers.register(tx, worker, hostname="bench", pid=1, lease=600))
        operations.change(ledger, _name_of(step), 1, reason="jobs are taken")
        seconds = [_admission(ledger, step.name, worker) for _ in range(count)]
        operations.change(ledger, _name_of(step), 0, reason="jobs are not taken, so a slot would be taken back")
    return percentiles(seconds)


def _name_of(step: Any) -> str:
    (limit,) = step.limits
    return str(limit.name)


def _admission(ledger: Ledger, step: str, worker: uuid.UUID) -> float:
    queued = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED, JobRow.queue == _ELSEWHERE)
    job = ledger.read_statement(lambda connection: connection.scalars(queued).one())
    token = moves.new_claim_token()
    claimed = ledger.write_statement(lambda tx: attempts.claim(tx, job, step, worker, token))
    assert claimed is not None
    began = time.perf_counter()
    assert ledger.write_statement(lambda tx: attempts.record(tx, claimed, Succeed("null")))
    return time.perf_counter() - began


def _run(side: Any, step: Any, count: int) -> Spans:
    spans: Spans = side.collect_many(side.start_many(step.s() for _ in range(count)))
    assert len(spans) == count
    return spans


def _beside_best(name: str, side: Any, step: Any, count: int) -> Figures:
    spans = _run(side, step, count)
    took = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return {name: took, name + AT_BEST: count / SLOTS * CALL}


def _chains(side: Any, number: int, length: int) -> Spans:
    """Run chains at once; return the spans of their steps while all of them went on."""
    started = side.start_many(chain(side.call.s() for _ in range(length)) for _ in range(number))
    side.collect_many(started)
    spans = [[job.result for job in one.jobs()] for one in started]
    over = min(max(ended for _, ended in of_one) for of_one in spans)
    return [span for span in chained(*spans) if span[0] < over]


def _between(spans: dict[int, Spans]) -> Figures:
    """Return how long it took from each end to the next begin, where *number* steps run at once."""
    figures = {}
    for number, found in spans.items():
        begun, ended = (sorted(times) for times in zip(*found, strict=True))
        waits = [begin - end for begin, end in zip(begun[number:], ended, strict=False)]
        figures |= {f"{number} at once, {name}": value for name, value in percentiles(waits).items()}
    return figures
