"""The memory that a pool's processes share: they were forked from one that had loaded it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.stack import migrated_ledger, stack
from tests.runtime.steps import MEMORY, own_memory
from tests.support import Broker


@pytest.mark.long
@pytest.mark.skipif(not MEMORY.exists(), reason="only Linux shows what memory is shared")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_process_of_the_pool_goes_on_sharing_what_its_parent_loaded(
    redis_broker: Broker, database: str, tmp_path: Path
) -> None:
    # With a variable that Python reads, a worker is started afresh, rather than forked as others in these tests.
    alone = {"env": {"PYTHONHASHSEED": "0"}, "concurrency": 1, "arguments": ("-I", "tests.runtime.steps")}
    with migrated_ledger(database, tmp_path) as url, stack(redis_broker, url, **alone) as at:
        share = at.agentq.start(own_memory.s()).result(30)
    assert share < 0.45, f"{share:.0%} of the process's memory is its own"
