"""A mutant: one line of the engine, its replacement, and the tests that should notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

ATTEMPTS = "tests/ledger/test_attempts.py"
CARETAKING = "tests/ledger/test_caretaking.py"
GUARDS = "tests/ledger/test_guards.py"
PARTS = "tests/ledger/test_members.py"
HANDING_OVER = "tests/ledger/test_handing_over.py"
SESSION = "tests/ledger/test_session.py"
RACES_OF_FAN_INS = "tests/races/test_fan_ins.py"
ORDER_OF_LOCKS = "tests/races/test_lock_order.py"
RACES_OF_DEAD_LETTERS = "tests/races/test_dead_letters.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard that is left out, or done wrong."""

    name: str
    file: str
    text: str
    """The text in the file, exactly once."""
    instead: str
    why: str
    """The fault without the guard."""
    tests: tuple[str, ...]
    """The test files that should catch it."""
    pick: str = ""
    """The selection of their tests, as pytest's -k; only to save time."""

    def of(self, source: str) -> str:
        """Return what the file's *source* is with the mutation."""
        if (count := source.count(self.text)) != 1:
            raise ValueError(f"mutant {self.name}: its text is in {self.file} {count} times, not once")
        return source.replace(self.text, self.instead)
