"""The end of a process that a step forked: it has the whole attempt on its stack, and must not go on with it."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

from agentq.policies.errors.untrusted import is_a


def end_if_forked(parent: int, error: BaseException | None = None) -> None:
    """End this process where it is not the process *parent* that runs the attempt, as Python ends a program.

    Args:
        parent: the id of the process that claimed the job.
        error: the error with which the step's function was left; None where it returned.
    """
    if os.getpid() == parent:
        return
    with suppress(Exception):  # the output is the child's own, and may be closed
        if error is not None and not is_a(error, SystemExit):
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_exit_code(error))  # no exit handlers: they are the pool process's


def _exit_code(error: BaseException | None) -> int:
    if is_a(error, SystemExit) and isinstance(error, SystemExit):
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    return 0 if error is None else 1
