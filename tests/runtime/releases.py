"""Two releases of one project: the same steps with other parameters; see tests/runtime/released.py."""

from __future__ import annotations

from agentq import step
from tests.runtime.released import is_older

RESULTS = {"added": "3 and 4", "required": "3 and 4", "removed": "3", "retyped": "3", "fed": "[1, 2]"}
"""What each workflow gives that the newer release starts."""
OLDER_RESULTS = {"required": "3", "removed": "3 without 4", "retyped": "3"}
"""What those give that the older one starts."""


@step(name="releases.numbers")
def numbers() -> list[int]:
    """The same in both."""
    return [1, 2]


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

    CANVASES = {"required": required.s(3), "removed": removed.s(3, 4), "retyped": retyped.s(3)}
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

    CANVASES = {
        "added": added.s(3, b=4),
        "required": required.s(3, 4),
        "removed": removed.s(3),
        "retyped": retyped.s([3]),
        "fed": numbers.s() | fed.s(),
    }
