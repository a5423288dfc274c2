"""Two releases of one project: the same steps and plain tasks with other parameters; see tests/runtime/released.

``releases.adopted`` and ``releases.narrowed`` are plain tasks in the older one and steps in the newer one.
"""

from __future__ import annotations

import os

from celery import shared_task

from agentq import Context, step
from tests.runtime.released import is_older
from tests.support import gates

RESULTS = {
    "added": "3 and 4",
    "required": "3 and 4",
    "removed": "3",
    "retyped": "3",
    "fed": "[1, 2]",
    "plain": "3 and 4",
}
"""The result of each workflow that the newer release starts."""
OLDER_RESULTS = {"required": "3", "removed": "3 without 4", "retyped": "3", "narrowed": "3 without 4"}
"""The results of the workflows that the older release starts."""


@step(name="releases.numbers")
def numbers() -> list[int]:
    """The same in both."""
    return [1, 2]


@step(name="releases.held")
def held(gate: str) -> None:
    """Run until the gate is opened."""
    gates.pass_gate(os.environ["AGENTQ_TEST_FOLDER"], gate)


if is_older():

    @step(name="releases.added", retries=0)
    def added(a: int) -> str:
        return f"{a}"

    @step(name="releases.required", retries=0)
    def required(a: int, b: int | None = None) -> str:
        return f"{a}" if b is None else f"{a} and {b}"

    @step(name="releases.removed", retries=0)
    def removed(a: int, b: int) -> str:
        return f"{a} without {b}"

    @step(name="releases.retyped", retries=0)
    def retyped(a: int) -> str:
        return f"{a}"

    @step(name="releases.fed", retries=0)
    def fed(items: dict[str, int]) -> str:
        return f"{items}"

    @shared_task(name="releases.plain")
    def plain(a: int) -> str:
        return f"{a}"

    @shared_task(name="releases.adopted")
    def adopted(a: int) -> str:
        return f"{a}"

    @shared_task(name="releases.narrowed")
    def narrowed(a: int, b: int) -> str:
        return f"{a} without {b}"

    CANVASES = {
        "required": required.s(3),
        "removed": removed.s(3, 4),
        "retyped": retyped.s(3),
        "adopted": adopted.s(3),
        "narrowed": narrowed.s(3, 4),
    }
else:

    @step(name="releases.added", retries=0)
    def added(a: int, b: int = 4) -> str:  # type: ignore[no-redef]
        return f"{a} and {b}"

    @step(name="releases.required", retries=0)
    def required(a: int, b: int) -> str:  # type: ignore[no-redef]
        return f"{a} and {b}"

    @step(name="releases.removed", retries=0)
    def removed(a: int) -> str:  # type: ignore[no-redef]
        return f"{a}"

    @step(name="releases.retyped", retries=0)
    def retyped(a: list[int]) -> str:  # type: ignore[no-redef]
        return ", ".join(map(str, a))

    @step(name="releases.fed", retries=0)
    def fed(items: list[int]) -> str:  # type: ignore[no-redef]
        return f"{items}"

    @shared_task(name="releases.plain")
    def plain(a: int, b: int = 4) -> str:
        return f"{a} and {b}"

    @step(name="releases.adopted", retries=0)
    def adopted(context: Context, a: int) -> str:
        return f"{a} in attempt {context.attempt}"

    @step(name="releases.narrowed", retries=0)
    def narrowed(a: int) -> str:
        return f"{a}"

    CANVASES = {
        "held": held.s("newer"),
        "plain": plain.s(3, b=4),
        "added": added.s(3, b=4),
        "required": required.s(3, 4),
        "removed": removed.s(3),
        "retyped": retyped.s([3]),
        "fed": numbers.s() | fed.s(),
    }
