"""Steps with policies of their own, which wait until their worker dies; only one of two workers has them."""

from __future__ import annotations

from agentq import Policy, rule, step
from agentq.policies import ErrorFacts, Fixed
from tests.support import gates

PAUSE = 600.0


def is_lost(facts: ErrorFacts) -> bool:
    """A predicate, which no ledger keeps."""
    return facts.error_class == "agentq.WorkerLost"


@step(retry=rule("ask", category="worker_lost"))
def ask(folder: str) -> None:
    """A second run needs a new request."""
    gates.pass_gate(folder, "held")


@step(retry=rule("ask", when=is_lost))
def ask_by_predicate(folder: str) -> None:
    """The same, said by a function."""
    gates.pass_gate(folder, "held")


@step(retry=rule("retry", category="worker_lost", schedule=Fixed(PAUSE)))
def pause(folder: str) -> None:
    """To be tried again, but not soon."""
    gates.pass_gate(folder, "held")


@step(retry="none")
def never(folder: str) -> None:
    """Not to be tried again."""
    gates.pass_gate(folder, "held")


@step(retry=Policy(otherwise=rule("dead_letter"), attempts=9))
def dead_letter(folder: str) -> None:
    """Not to be tried again, by the policy's last word."""
    gates.pass_gate(folder, "held")


@step
def again(folder: str) -> None:
    """To be tried again at once, as the default policy says."""
    gates.pass_gate(folder, "held")


@step
def twice(folder: str) -> list[str]:
    """For each()."""
    return [folder]
