"""The options of ``@step``, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from agentq.exceptions import StepDefinitionError, nearest
from agentq.policies import Policy, Rule
from agentq.policies.limits import Element
from agentq.states import OnFailure

RetryOption = Policy | str | Rule | Sequence[Rule] | None
"""The argument of ``@step(retry=…)``."""


class StepOptions(TypedDict, total=False):
    """The options of ``@step``; its docstring says what each one is."""

    name: str | None
    queue: str | None
    priority: int | None
    timeout: float | None
    hard_timeout: float | None
    deadline: float | None
    retry: RetryOption
    retries: int | None
    on_failure: OnFailure | str | None
    limits: Sequence[Element]
    max_backlog: int | None
    description: str | None


def require_known(options: StepOptions) -> None:
    """Raise StepDefinitionError for an option that does not exist."""
    known = sorted(StepOptions.__annotations__)
    unknown = options.keys() - set(known)
    if unknown:
        name = min(unknown)
        raise StepDefinitionError(
            f"@step has no option {name!r}.{nearest(name, known)} It knows: {', '.join(known)}."
        )
