"""Two releases for the rehearsal of a deploy; see tests/runtime/released.py.

The newer one has a step ``added``, calls ``old`` ``new`` and knows its old name, has no ``removed``, and its
``changed`` takes one more argument. What runs leaves a trace in the folder that ``AGENTQ_TEST_FOLDER`` names.
"""

from __future__ import annotations

import os

from agentq import step
from tests.runtime.released import is_older
from tests.support import gates


def _folder() -> str:
    return os.environ["AGENTQ_TEST_FOLDER"]


@step(name="rehearsed.held")
def held(gate: str) -> int:
    gates.pass_gate(_folder(), gate)
    return 1


def renamed(number: int) -> int:
    gates.note(_folder(), "renamed")
    return number + 1


old = step(name="rehearsed.old")(renamed)

if is_older():

    @step(name="rehearsed.changed")
    def changed(number: int) -> int:
        gates.note(_folder(), "changed")
        return number + 1

    @step(name="rehearsed.removed")
    def removed(number: int) -> int:
        gates.note(_folder(), "removed")
        return number + 1

    CANVASES = {
        "first | old": held.s("first") | old.s(),
        "second | changed": held.s("second") | changed.s(),
        "third | removed": held.s("third") | removed.s(),
        "old": old.s(1),
        "changed": changed.s(1),
    }
else:
    new = step(name="rehearsed.new")(renamed)

    @step(name="rehearsed.changed")
    def changed(number: int, more: int = 0) -> int:  # type: ignore[no-redef]
        gates.note(_folder(), "changed")
        return number + 1 + more

    @step(name="rehearsed.added")
    def added(number: int) -> int:
        gates.note(_folder(), "added")
        return number + 1

    CANVASES = {
        "added | new": added.s(1) | new.s(),
        "new | changed more": new.s(1) | changed.s(more=10),
    }
