"""What a mutant is: one line of the engine, what stands there instead, and the tests that should notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

ATTEMPTS = "tests/ledger/test_attempts.py"
CARETAKING = "tests/ledger/test_caretaking.py"
GUARDS = "tests/ledger/test_guards.py"
PARTS = "tests/ledger/test_parts.py"
HANDING_OVER = "tests/ledger/test_handing_over.py"
SESSION = "tests/ledger/test_session.py"
RACES_OF_FAN_INS = "tests/races/test_fan_ins.py"
RACES_OF_DEAD_LETTERS = "tests/races/test_dead_letters.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard that is left out, or done wrong."""

    name: str
    file: str
    text: str
    """What stands in the file, exactly once."""
    instead: str
    why: str
    """What goes wrong without the guard."""
    tests: tuple[str, ...]
    """The test files that should catch it."""
    pick: str = ""
    """Which of their tests, as pytest's -k; only to save time."""

    def of(self, source: str) -> str:
        """Return what the file's *source* is with the mutation."""
        if (count := source.count(self.text)) != 1:
            raise ValueError(f"mutant {self.name}: its text is in {self.file} {count} times, not once")
        return source.replace(self.text, self.instead)
