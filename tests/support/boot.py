"""The parent of ``Forked`` processes: it has loaded the modules they need, which takes a second.

It reads orders, one a line: become a Python with such arguments, answered with the new process's id; say how a
process has ended, answered with its exit code, or null while it runs. It ends with its input.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Serve; in a fork, be the process that was ordered: its end, then, is that of the interpreter."""
    for name in sys.argv[1:]:
        import_module(name)
    freeze()
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if "ended" in order:
            _answer(_exit_code(order["ended"]))
        elif os.fork() == 0:
            _become(**order)
            return


def freeze() -> None:
    """Make this process ready to be forked from, now that all is loaded."""
    assert threading.active_count() == 1, "a fork has no other threads"
    gc.collect()
    gc.freeze()  # else each fork's collector writes to, and so copies, all of this process's memory


def take_environment(environment: Mapping[str, str], folder: str, first_on_path: str) -> None:
    """Have these variables, work in this folder, and import from this place first, as a new Python does."""
    os.chdir(folder)
    installed = sys.path[1 + len(_python_path()) :]
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [first_on_path, *_python_path(), *installed]


def _answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(arguments: list[str], environment: dict[str, str], folder: str, output: str, errors: str) -> None:
    os.setsid()
    _answer(os.getpid())  # only now, that the group is there to be killed
    first, *rest = arguments
    take_environment(environment, folder, folder if first == "-m" else str(Path(first).parent))
    _redirect(output, errors)
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


def _python_path() -> list[str]:
    return [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _redirect(output: str, errors: str) -> None:
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for path, flags, target in ((os.devnull, os.O_RDONLY, 0), (output, writing, 1), (errors, writing, 2)):
        file = os.open(path, flags)
        os.dup2(file, target)
        os.close(file)


if __name__ == "__main__":
    main()
