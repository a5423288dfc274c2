"""Steps that are revoked; a worker imports them with ``-I``."""

from __future__ import annotations

from agentq import Policy, rule, step
from agentq.policies import Fixed
from tests.support import gates


@step(retry=Policy(otherwise=rule("retry", schedule=Fixed(0.2)), name="soon"))
def fails_behind(folder: str, name: str) -> None:
    """Fail once the gate is open."""
    gates.pass_gate(folder, name)
    raise ConnectionError("engaged")
