"""Whatever stalls, and however claims come: no window has more starts, or tokens, than its limit allows."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentq import Rate, Tokens, step
from agentq.ledger import limits
from agentq.ledger.audit.audit import audit
from agentq.outcomes import RetryLater
from tests.support.fake_worker import FAILURE
from tests.support.limited import DONE
from tests.support.paced import PacedWorker, most_in

EXAMPLES = int(os.environ.get("AGENTQ_TEST_EXAMPLES", "12"))
LIMIT, PER, BURST = 12, 60.0, 4
TOKENS, BUCKET = 1_000, 200
COSTS = (10, 60, BUCKET)


@step(
    limits=[
        Rate("window", limit=LIMIT, per=PER, burst=BURST),
        Tokens("window", limit=TOKENS, per=PER, burst=BUCKET, estimate="tokens"),
    ]
)
def ask(tokens: int) -> None:
    """A call with a rate and tokens."""


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([0.05, 1.0, 7.5, 30.0, 90.0])),
        st.tuples(st.just("start"), st.sampled_from(COSTS)),
        st.tuples(st.just("stall"), st.sampled_from([0.0, 20.0])),
        st.tuples(st.just("claim"), st.sampled_from(["succeed", "retry", "leave"])),
        st.tuples(st.just("look"), st.just(0)),
    ),
    min_size=10,
    max_size=40,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=ACTIONS)
def test_no_window_has_more_than_its_limit(ledger_url: str, actions: list[tuple[str, Any]]) -> None:
    worker = PacedWorker(ledger_url)
    with closing(worker.ledger):
        worker.let_pass(1.5 * PER)  # since the example before, in whose ledger this one goes on
        starts: list[tuple[float, int]] = []
        for action, value in [*actions, *[("pass", 90.0), ("look", 0), ("claim", "succeed")] * 2]:
            do(worker, action, value, starts)
        assert most_in([at for at, _ in starts], PER) <= LIMIT
        assert most_tokens(starts) <= TOKENS
        assert worker.ledger.read(audit) == []


def do(worker: PacedWorker, action: str, value: Any, starts: list[tuple[float, int]]) -> None:
    match action:
        case "pass":
            worker.let_pass(value)
        case "start":
            worker.begin_all([ask.s(value)])
        case "stall":  # all that wait get a message, then time passes: the claims come together
            messages = worker.admit_all("window")
            worker.let_pass(value)
            for message in messages:
                claim(worker, message, "succeed", starts)
        case "claim" if worker.published:
            claim(worker, worker.published.popleft(), value, starts)
        case "look":
            limits.fill(worker.ledger)


def claim(worker: PacedWorker, message: Any, end: str, starts: list[tuple[float, int]]) -> None:
    claimed = worker.claim(message)
    if claimed is None:
        return
    assert claimed.tokens is not None
    starts.append((worker.started_at(claimed), claimed.tokens[0]))
    if end != "leave":
        worker.end(claimed, DONE if end == "succeed" else RetryLater(FAILURE, 0))


def most_tokens(starts: list[tuple[float, int]]) -> int:
    """Return how many tokens were reserved in one window, at most."""
    most = 0
    for begin, _ in starts:
        most = max(most, sum(tokens for at, tokens in starts if begin <= at < begin + PER))
    return most
