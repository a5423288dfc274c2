"""Errors whose text cannot be stored, or should not be, are recorded all the same, alike on every ledger."""

from __future__ import annotations

import pytest

from agentq.exceptions import StepFailed
from tests.faults.worker.place import worker_of
from tests.faults.worker.steps import raise_nasty
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, client
from tests.support.faults import Fault, Phase, covers

SHOWN = {
    "NUL and surrogates": "a\ufffdb ? c",
    "no text": "__str__ raises RuntimeError",
    "5 MB": "xxx",
    "a password": "password=***",
}


@covers(Fault.BAD_VALUE, Phase.BODY, Phase.COMPLETION, Phase.DEAD_LETTER)
def test_any_error_is_recorded(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url):
        for name, shown in SHOWN.items():
            workflow = agentq.start(raise_nasty.s(name))
            with pytest.raises(StepFailed):
                workflow.result(20)
            message = job_of(workflow).error_message or ""
            assert shown in message, name
            assert len(message) < 10_000
            assert "hunter2" not in message
            assert history(workflow) == ["failed"]
        require_sound(agentq)
