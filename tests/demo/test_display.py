"""Progress is live in a terminal and plain lines everywhere else."""

import contextlib
import io
import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest

from agentq.demo.display import LiveDisplay, PlainDisplay, StepProgress, may_color, open_display


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def rows(done: int, running: int = 0, total: int | None = 60) -> list[StepProgress]:
    return [StepProgress("find", 1, 0, 1), StepProgress("read", done, running, total)]


def test_plain_lines_come_on_change_at_most_one_a_second_and_end_with_the_last() -> None:
    stream, time = io.StringIO(), Time()
    with PlainDisplay(stream, time) as display:
        display.update(rows(0, total=None))
        display.update(rows(5, running=2))
        time.now += 0.9
        display.update(rows(10))
        time.now += 0.1
        display.update(rows(20))
        time.now += 5
        display.update(rows(20))
        display.update(rows(21))
        display.update(rows(60))
    assert stream.getvalue().splitlines() == [
        "find 1/1 | read 0/?",
        "find 1/1 | read 20/60",
        "find 1/1 | read 21/60",
        "find 1/1 | read 60/60",
    ]


def test_a_plain_remark_comes_after_the_progress_that_led_to_it() -> None:
    stream = io.StringIO()
    with PlainDisplay(stream, Time()) as display:
        display.update(rows(1))
        display.update(rows(2, running=2))
        display.say("killed the worker")
    assert stream.getvalue().splitlines() == [
        "find 1/1 | read 1/60",
        "find 1/1 | read 2/60 (2 running)",
        "killed the worker",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """A real terminal, and a function that closes it and returns all that it showed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stream:

        def shown() -> str:
            stream.close()
            chunks = []
            with contextlib.suppress(OSError):  # the end of a terminal reads as an error on Linux
                while chunk := os.read(master, 4096):
                    chunks.append(chunk)
            return b"".join(chunks).decode()

        yield stream, shown
    os.close(master)


def run(stream: TextIO) -> None:
    with open_display(stream) as display:
        display.update(rows(12, running=3))
        display.say("killed the [bold] worker")
        display.update(rows(60))


def test_a_terminal_gets_bars(terminal: tuple[TextIO, Callable[[], str]]) -> None:
    stream, shown = terminal
    assert isinstance(open_display(stream), LiveDisplay)
    run(stream)
    text = shown()
    assert "killed the [bold] worker" in text
    assert "60/60" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", text)


def test_no_color_is_honoured(terminal: tuple[TextIO, Callable[[], str]], monkeypatch: pytest.MonkeyPatch) -> None:
    stream, shown = terminal
    assert may_color(stream)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not may_color(stream)
    run(stream)
    text = shown()
    assert "60/60" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)


def test_a_dumb_terminal_gets_plain_lines(
    terminal: tuple[TextIO, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_display(terminal[0]), PlainDisplay)


def test_a_terminal_without_rich_gets_plain_lines(
    terminal: tuple[TextIO, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    stream, shown = terminal
    run(stream)
    assert shown().splitlines()[-1] == "find 1/1 | read 60/60"


def test_a_file_gets_plain_lines_without_colour() -> None:
    stream = io.StringIO()
    assert not may_color(stream)
    run(stream)
    assert "\x1b" not in stream.getvalue()
