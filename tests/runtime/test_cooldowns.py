"""A cooldown on a real worker: no call while it lasts, then 1, 2, 4 at once, and no attempt is burned."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.cooling_steps import SLOTS, call_provider
from tests.runtime.queries import job_of
from tests.runtime.stack import migrated_ledger, stack
from tests.support import redis_server
from tests.support.recovering import recovering_server

KNOWN = ("-I", "tests.runtime.cooling_steps")
JOBS = 12
ASKS_FOR = 2
"""Seconds that the server asks its clients to wait."""
REFUSED = [SLOTS, 1]
"""The calls of each round that is refused: those that are under way at first, then the one that tries again."""


def test_a_provider_that_is_overloaded_is_left_alone_and_then_called_by_degrees(
    database: str, tmp_path: Path
) -> None:
    with (
        redis_server() as broker,
        migrated_ledger(database, tmp_path) as url,
        stack(broker, url, concurrency=SLOTS, arguments=KNOWN) as at,
        recovering_server(REFUSED, SLOTS, JOBS, ASKS_FOR) as server,
    ):
        workflows = at.agentq.start_many([call_provider.s(server.url)] * JOBS)
        assert [workflow.result(60) for workflow in workflows] == [200] * JOBS
        jobs = [job_of(workflow) for workflow in workflows]

    assert len(server.came) == sum(REFUSED) + JOBS
    first_after = [server.came[SLOTS], server.came[SLOTS + 1]]
    pauses = [came - refused for came, refused in zip(first_after, server.refused, strict=True)]
    # To a hundredth: the ledger's clock may have less digits.
    assert min(pauses) >= ASKS_FOR - 0.01, "no call came while the limit cooled"
    assert server.held_in_vain == 0, "as many calls came as may"
    assert all(here <= may_be for here, may_be in server.at_once), server.at_once
    assert {here for here, _ in server.at_once} == {1, 2, 3, 4}
    assert sum(job.deferrals for job in jobs) == sum(REFUSED)
    assert {job.attempts_summary.partition(",")[0] for job in jobs} == {"1 of 1"}
