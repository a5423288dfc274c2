"""What a process of ``Forked`` is forked from: a process that has loaded what workers need, which takes a second.

It reads orders, one a line: start ``python -m`` something, answered with the new process's id; say how a process
has ended, answered with its exit code, or null while it runs. It ends with its input.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
import threading
from importlib import import_module

_LOADED = (
    "celery.bin.celery",
    *("celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log", "celery.apps.worker"),
    *(
        "celery.backends.base",
        "celery.concurrency.prefork",
        "celery.concurrency.solo",
        "celery.concurrency.thread",
    ),
    *("celery.events.state", "celery.fixups.django", "celery.loaders.app", "celery.worker.autoscale"),
    *("celery.worker.components", "celery.worker.consumer", "celery.worker.strategy"),
    *("billiard.popen_fork", "billiard.sharedctypes", "billiard.synchronize", "cffi.cparser"),
    *("kombu.transport.pyamqp", "kombu.transport.redis"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("agentq.runtime.app", "agentq.runtime.asyncio_pool"),
)
"""Modules that only define things, and read no variable of the environment that tests set for one worker only."""


def main() -> None:
    """Serve; in a fork, be the process that was ordered: its end, then, is that of the interpreter."""
    for name in _LOADED:
        import_module(name)
    assert threading.active_count() == 1, "a fork has no other threads"
    gc.collect()
    gc.freeze()  # else each fork's collector writes to, and so copies, all of this process's memory
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if "ended" in order:
            _answer(_exit_code(order["ended"]))
        elif os.fork() == 0:
            _become(**order)
            return


def _answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(module: str, arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    os.setsid()
    _answer(os.getpid())  # only now, that the group is there to be killed
    os.chdir(folder)
    for path, flags, targets in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, (1, 2)),
    ):
        file = os.open(path, flags)
        for target in targets:
            os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
