"""Steps that are killed, stopped, cut off or cancelled; imported with ``-I tests.faults.worker.steps``."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from celery import shared_task

from agentq import Context, on_dead_letter, step
from agentq.operations.schemas import DeadLetter
from tests.support import gates


@step(retries=1)
def crash(folder: str, how: str) -> None:
    """End the process that runs it in one of the ways in which processes end."""
    gates.note(folder, "crash")
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(3 if how == "exit" else 0)


@step(timeout=0.5, hard_timeout=1.0, retry="quick", retries=1)
def ignore_limits(folder: str) -> None:
    """Swallow the soft limit, as ``except Exception`` does."""
    gates.note(folder, "ignore_limits")
    while True:
        try:
            time.sleep(30)
        except Exception:
            continue


@step(timeout=0.5, retries=0)
def save_in_time(folder: str) -> str:
    """Use the time between the soft and the hard limit."""
    try:
        time.sleep(30)
    except Exception:
        gates.note(folder, "saved")
        return "saved"
    return "not stopped"


@step(retries=3)
def never_return(folder: str, name: str = "never_return") -> None:
    gates.note(folder, name)
    while True:
        time.sleep(0.05)


@step(retries=0, deadline=1.0)
def miss_its_deadline(folder: str) -> None:
    gates.note(folder, "miss_its_deadline")
    while True:
        time.sleep(0.05)


@step(retries=0)
def look_whether_cancelled(ctx: Context, folder: str) -> str:
    """Go on until no process wants the outcome any more."""
    gates.note(folder, "looking")
    while not ctx.cancelled:
        time.sleep(0.05)
    gates.note(folder, "saw it")
    return "ended early"


@step(retries=0)
def need_file(path: str, value: int) -> int:
    """Fail until there is the file; then return *value*."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    return value


@on_dead_letter
def note_dead_letter(letter: DeadLetter) -> None:
    """Leave a trace for each call, where the job's arguments name a folder of gates."""
    folder = os.environ.get("AGENTQ_TEST_LETTERS")
    if folder:
        gates.note(folder, f"letter-{letter.job_id}")


@on_dead_letter
def fail_to_handle(letter: DeadLetter) -> None:
    raise RuntimeError("the handler is broken")


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


_NASTY = {
    "NUL and surrogates": lambda: ValueError("a\x00b \ud800 c"),
    "no text": _Unspeakable,
    "5 MB": lambda: RuntimeError("x" * 5_000_000),
    "a password": lambda: RuntimeError("login with password=hunter2-and-more failed"),
}


@step(retries=0)
def raise_nasty(name: str) -> None:
    raise _NASTY[name]()


@step
def note_end(folder: str, name: str) -> None:
    """Never return, and leave a trace where the process is ended as a program is."""
    try:
        never_return(folder, name)
    finally:
        gates.note(folder, "cleaned")


@shared_task(name="tests.in_a_plain_task")  # type: ignore[untyped-decorator]
def in_a_plain_task(folder: str, name: str) -> None:
    never_return(folder, name)


@step
def ends_a_child() -> list[int | bool]:
    """Terminate a program and a fork; return how the one ended, and whether the other did."""
    program = subprocess.Popen(["sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()  # before it has begun, its signals are Python's
    program.terminate()
    reader, writer = os.pipe()
    if (fork := os.fork()) == 0:
        os.write(writer, b"!")  # Python drops the signals of a fork that has just begun
        while True:  # in short sleeps: a signal just before one is handled after it
            time.sleep(0.1)
    os.read(reader, 1)
    os.kill(fork, signal.SIGTERM)
    _, status = os.waitpid(fork, 0)
    return [program.wait(), os.waitstatus_to_exitcode(status) != 0]
