"""The record that outlives a crash beside the ledger: effects of steps, the client's knowledge, sent messages."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentq.runtime.dispatch.message import DISPATCH_HEADER

Contents = tuple[tuple[str, bytes], ...]
"""The names and the bytes of a diary's files."""
_FILES = ("effects", "starts", "handled", "fixed", "messages")


@dataclass(frozen=True)
class Effect:
    """The effect of one attempt on the world."""

    what: str
    key: str
    attempt: int


class Diary:
    """Files of one run in one folder; each line is appended as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last_words = folder / "last words"
        self.log = folder / "log"
        self.report = folder / "report"

    def clear(self) -> None:
        """Forget the run before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def contents(self) -> Contents:
        """Return all that is noted."""
        files = [self.folder / name for name in _FILES]
        return tuple((file.name, file.read_bytes()) for file in files if file.exists())

    def put_back(self, contents: Contents, seconds: float) -> None:
        """Forget the run before, and note these, where the dispatches of messages become so much later."""
        self.clear()
        for name, noted in contents:
            if name != "messages":
                (self.folder / name).write_bytes(noted)
                continue
            for queue, message in map(json.loads, noted.splitlines()):
                if DISPATCH_HEADER in message["headers"]:
                    message["headers"][DISPATCH_HEADER] += round(seconds * 1_000)
                self.add_message(queue, message)

    def add_effect(self, what: str, key: str, attempt: int) -> None:
        """Note an effect."""
        self._append("effects", [what, key, attempt])

    def effects(self) -> list[Effect]:
        """Return all effects, in their order."""
        return [Effect(*line) for line in self._lines("effects")]

    def add_start(self, key: str, workflow_id: str) -> None:
        """Note that ``start()`` returned: from here on nothing may be lost."""
        self._append("starts", [key, workflow_id])

    def starts(self) -> dict[str, str]:
        """Return the workflows whose ``start()`` has returned, by key."""
        return dict(self._lines("starts"))

    def add_handled(self, letter_id: str) -> None:
        """Note that the handler of a dead letter was called."""
        self._append("handled", [letter_id])

    def handled(self) -> set[str]:
        """Return the dead letters whose handler was called."""
        return {letter_id for (letter_id,) in self._lines("handled")}

    def fix(self) -> None:
        """Note that what made steps fail for good is fixed."""
        (self.folder / "fixed").touch()

    def is_fixed(self) -> bool:
        """Say whether it is."""
        return (self.folder / "fixed").exists()

    def add_message(self, queue: str, message: dict[str, Any]) -> None:
        """Note a message that the broker took."""
        self._append("messages", [queue, message])

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all messages, in their order."""
        return [(queue, message) for queue, message in self._lines("messages")]

    def _append(self, name: str, line: list[Any]) -> None:
        file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{json.dumps(line)}\n".encode())
        os.close(file)

    def _lines(self, name: str) -> list[Any]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
