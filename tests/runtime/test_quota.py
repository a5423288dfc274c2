"""Many jobs want a provider with a small quota: it refuses none, its rate is used, and tenants have shares.

``scripts/quota`` does the same with a thousand jobs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.quota_steps import QUOTA, call_provider
from tests.runtime.stack import migrated_ledger, stack
from tests.support import redis_server
from tests.support.quota import quota_server

SMALL, LARGE = [f"small-{number}" for number in range(9)], "large"
JOBS = 12
"""Jobs of each small tenant; the large one has as many as all of them."""
KNOWN = ("-I", "tests.runtime.quota_steps")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_a_provider_with_a_small_quota_refuses_nothing_and_tenants_have_equal_shares(
    database: str, tmp_path: Path
) -> None:
    with (
        quota_server(QUOTA) as server,
        redis_server() as broker,
        migrated_ledger(database, tmp_path) as url,
        stack(broker, url, concurrency=12, pool="threads", arguments=KNOWN) as at,
    ):
        flood = at.agentq.start_many([call_provider.s(server.url)] * JOBS * len(SMALL), tenant=LARGE)
        others = [at.agentq.start_many([call_provider.s(server.url)] * JOBS, tenant=tenant) for tenant in SMALL]
        for workflow in (*flood, *(one for many in others for one in many)):
            assert workflow.result(120) == 200
    assert server.most_at_once <= QUOTA.at_once
    assert server.broken_promises([*SMALL, LARGE], rounds=5) == []
