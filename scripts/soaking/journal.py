"""The client's journal: a line for each of its actions, in a file that outlives it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Journal:
    """The client's side."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, event: str, **details: Any) -> None:
        """Write one line."""
        self._file.write(json.dumps({"event": event, **details}) + "\n")


@dataclass
class Story:
    """The reader's side: what happened so far."""

    started: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The ids of workflows that starts returned, by key: there should be one each."""
    tried: set[str] = field(default_factory=set)
    """The keys of all starts, whether they returned or not."""
    ended: set[str] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    """Errors that should not have been raised."""

    @classmethod
    def read(cls, path: Path) -> Story:
        """Read a journal that may still be written."""
        story = cls()
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if line.endswith("\n"):
                story._add(**json.loads(line))
        return story

    def _add(self, event: str, key: str = "", workflow: str = "", error: str = "") -> None:
        self.events[event] += 1
        match event:
            case "try":
                self.tried.add(key)
            case "started":
                self.started[key].add(workflow)
            case "ended":
                self.ended.add(key)
            case "error":
                self.errors.append(f"{key}: {error}")
