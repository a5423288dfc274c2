"""A reader who follows a page: types its commands, each in a terminal that is free."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self

from tests.docs.snippets import PRINTED, SQL, Snippet
from tests.support.services import kill_group
from tests.support.waiting import eventually

_LONGEST = 120
_READY = re.compile(r"/MainProcess\] \S+ ready\.|running on http|development server at http", re.IGNORECASE)
"""The output of a worker or a web server that is ready; it does not end by itself."""


class Reader:
    """Use it in a ``with``: at its end all that was left running is interrupted, and must end well.

    Args:
        folder: where the commands are typed.
        environment: of the terminals.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._terminals: list[_Terminal] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for terminal in reversed(self._terminals):
                    terminal.close()
            else:
                error.add_note(self.printed)
        finally:
            for terminal in self._terminals:
                terminal.kill()

    @property
    def printed(self) -> str:
        """All that was printed so far."""
        return "".join(terminal.printed for terminal in self._terminals)

    def do(self, snippet: Snippet) -> None:
        """Type it, if it is typed; or look for it, if it is what is printed: … stands for anything."""
        if snippet.not_run:
            return
        if snippet.language == PRINTED:
            for line in snippet.code.splitlines():
                assert re.search(re.escape(line).replace("…", ".+"), self.printed), f"{line!r} is not printed"
        elif snippet.language == SQL:
            self._type(f"psql --quiet --set ON_ERROR_STOP=1 <<'END'\n{snippet.given}\n{snippet.code}END")
        elif snippet.is_typed:
            for command in _commands(f"{snippet.given}\n{snippet.code}"):
                self._type(command)

    def _type(self, command: str) -> None:
        if not self._terminals or self._terminals[-1].is_busy:
            self._terminals.append(_Terminal(self._folder, self._environment))
        self._terminals[-1].type(command)


def _commands(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            yield line


class _Terminal:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.is_busy = False
        self._typed = 0
        self._output = NamedTemporaryFile()  # noqa: SIM115
        alive, self._held = os.pipe()
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[alive],
            start_new_session=True,
            # Tests that run in the background ignore interrupts, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(alive)
        # Where this process is killed, the pipe ends, and all that the terminal has started ends with it.
        self._send(f"( {{ read -r; kill -KILL 0; }} <&{alive} & ) ; exec {alive}<&-; set -o pipefail")

    @property
    def printed(self) -> str:
        return Path(self._output.name).read_text(errors="replace")

    def type(self, command: str) -> None:
        """Run a command, until it has ended well or is ready: then it goes on, and the terminal is busy."""
        self._typed += 1
        ended = re.compile(rf"^<{self._typed}: (\d+)>$", re.MULTILINE)
        before = len(self.printed)
        # The command must not read what is typed after it.
        self._send(f"eval {shlex.quote(command)} </dev/null; printf '\\n<%d: %d>\\n' {self._typed} $?")
        eventually(
            lambda: ended.search(self.printed) or _READY.search(self.printed, before) or self._is_gone,
            _LONGEST,
            what=f"the end of: {command}",
        )
        code = ended.search(self.printed)
        self.is_busy = code is None
        assert not self._is_gone, f"it ended its shell: {command}"
        assert code is None or code[1] == "0", f"exit code {code[1]} of: {command}"

    def close(self) -> None:
        """Interrupt what runs, as Ctrl-C does; it has to end."""
        if self.is_busy:
            kill_group(self._shell, signal.SIGINT)
        self._shell.communicate(timeout=60)
        code = self._shell.returncode
        assert code in (0, -signal.SIGINT), f"exit code {code} after an interrupt"

    def kill(self) -> None:
        """End all that is left, at once."""
        kill_group(self._shell)
        os.close(self._held)
        self._shell.communicate()
        self._output.close()

    @property
    def _is_gone(self) -> bool:
        return self._shell.poll() is not None

    def _send(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{line}\n".encode())
        self._shell.stdin.flush()
