"""The workloads: who is measured doing what, and how the figures are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import comparison, filling, growth, ledgers, limited, memory, work
from benchmarks.contender import BARE, DURABLE, WAITING, Contender
from benchmarks.work import Figures, Work


@dataclass(frozen=True)
class Workload:
    """One comparison."""

    title: str
    contenders: tuple[Contender, ...]
    ratio: str = "agentq is … times as fast"
    """The text around the number at the end of a row."""
    compare: Callable[[Sequence[Figures]], comparison.Rows] = comparison.side_by_side
    heads: tuple[str, str] | None = None
    """The heads over the two figures of a row; None for the contenders' names."""
    most_rounds: int | None = None
    """For what takes minutes: it is repeated at most so often."""
    in_bytes: bool = False
    needs_postgresql: bool = False

    @property
    def columns(self) -> tuple[str, str]:
        """The heads over the two figures of a row."""
        return self.heads or (self.contenders[0].name, self.contenders[1].name)


def _durable(name: str, do: Work, size: int, **rest: object) -> Contender:
    return replace(Contender(name, DURABLE, do, size, warm_up=size), **rest)  # type: ignore[arg-type]


def _both(do: Work, size: int, **rest: object) -> tuple[Contender, Contender]:
    durable = _durable("agentq", do, size, **rest)
    return replace(durable, name="bare Celery", side=BARE), durable


def _waiting() -> tuple[Contender, Contender]:
    bare, durable = _both(work.waits, 2000, warm_up=500, jobs=2000, concurrency=500)
    return replace(bare, pool="threads"), replace(durable, pool=WAITING)


def _line_of(waiters: int) -> Contender:
    return _durable(
        f"{waiters:,} wait",
        limited.admissions,
        60,
        warm_up=20,
        prepare=lambda crew: crew.client.do(limited.line_up, waiters),
    )


WORKLOADS = {
    "a": Workload("1,000 of one step, started one by one", _both(work.singles, 1000, warm_up=200, jobs=1000)),
    "b": Workload("1,000 of one step, started at once", _both(work.bulk, 1000, warm_up=200, jobs=1000)),
    "c": Workload("a chain of 100", _both(work.one_chain, 100, jobs=100)),
    "d": Workload("20 chains of 10 at once", _both(work.chains, 20, jobs=200)),
    "e": Workload("a fan of 500 with a fan-in", _both(work.fan, 500, warm_up=200, jobs=501)),
    "f": Workload(
        "each over 10,000 items", _both(work.wide_each, 10_000, warm_up=500, jobs=10_002), most_rounds=3
    ),
    "g": Workload("one step, and again when it is done", _both(work.latency, 200, warm_up=50, jobs=200)),
    "h": Workload("2,000 steps that wait 1 s, 500 at a time", _waiting(), most_rounds=3),
    "i": Workload(
        "a job in the course of 100,000",
        (_durable("agentq", work.bulk, growth.BATCH, measure=growth.measure),),
        heads=("there", f"at {growth.MARKS[0]:,}"),
        ratio="a job there costs … times as much",
        compare=comparison.beside_first,
        most_rounds=1,
    ),
    "j": Workload(
        "a ledger of 1,000,000 finished jobs (SQLite: 100,000)",
        (
            _durable("full ledger", work.both_chains, 100, jobs=300, prepare=filling.fill),
            _durable("empty ledger", work.both_chains, 100, jobs=300),
        ),
        ratio="with the full one it takes … times as long",
    ),
    "k": Workload(
        "5,000 jobs and 8 processes: one join, or eight",
        (
            _durable("one fan", work.fan, 5_000, warm_up=500, jobs=5_001, concurrency=8),
            _durable("eight fans", work.eight_fans, 5_000, warm_up=500, jobs=5_008, concurrency=8),
        ),
        ratio="the one takes … times as long",
        most_rounds=3,
    ),
    "l": Workload(
        "memory: each over 10,000 items, then 20,000",
        _both(work.wide_each, 10_000, warm_up=500, measure=memory.measure),
        ratio="bare Celery takes … times as much",
        most_rounds=1,
        in_bytes=True,
    ),
    "m": Workload(
        "a chain of 100 and a fan of 500",
        (
            _durable("ledger 1 ms away", work.hops, 100, open_ledger=ledgers.far),
            _durable("ledger here", work.hops, 100),
        ),
        ratio="it has … of the longer round trips in it",
        compare=comparison.beyond_round_trip,
        needs_postgresql=True,
    ),
    "n": Workload(
        "1,000 of one step, with a limit of 10",
        (
            _durable("with a limit", work.bulk_in_line, 1000, warm_up=200, jobs=1000),
            _durable("without", work.bulk, 1000, warm_up=200, jobs=1000),
        ),
        ratio="with one it takes … times as long",
    ),
    "o": Workload(
        "400 steps of 50 ms, ten at once",
        (
            _durable("with a limit", limited.calls, 400, warm_up=64, jobs=400, concurrency=16),
            _durable("without", limited.free_calls, 400, warm_up=64, jobs=400, concurrency=10),
        ),
        heads=("at best", "measured"),
        ratio="… of the possible",
        compare=comparison.beside_best,
    ),
    "p": Workload(
        "starts at a rate, for 15 s each",
        (_durable("agentq", limited.rates, 15, warm_up=2, concurrency=8),),
        heads=("at best", "measured"),
        ratio="… of the rate is reached",
        compare=comparison.beside_best,
        most_rounds=3,
    ),
    "q": Workload(
        "from the end of a step to the begin of the next",
        (
            _durable("by a slot", limited.slots, 60, warm_up=10, concurrency=16),
            _durable("in a chain", limited.hops, 60, warm_up=10, concurrency=16),
        ),
        ratio="a slot takes … times as long",
    ),
    "r": Workload(
        "a job's end that admits the next",
        (_line_of(100_000), _line_of(1_000)),
        ratio="with the longer line it takes … times as long",
    ),
}
