"""Every shape of canvas that is run both on bare Celery and on agentq.

A case says how a canvas is built, never what it returns: bare Celery is the judge of that.
"""

from .flat_cases import CHAINS, FAN_INS, GROUPS, TASKS
from .nested_cases import CHORDS, EMPTY, FAILURES, LINKS, MAPS, NESTS, REBUILT
from .shapes import Case

CASES: list[Case] = [
    *TASKS,
    *CHAINS,
    *GROUPS,
    *FAN_INS,
    *CHORDS,
    *NESTS,
    *EMPTY,
    *FAILURES,
    *MAPS,
    *LINKS,
    *REBUILT,
]

__all__ = ["CASES", "Case"]
