"""SIGTERM to a worker's whole process group, as systemd, Heroku and shells send it: the main process answers it.

Celery's pool processes die of SIGTERM, since that is how the main process itself ends them. Here it ends them by
SIGQUIT, which they take in the same way, and they leave SIGTERM to the main process: what they run goes on to its
end, or is given back. Celery does so itself where ``REMAP_SIGTERM`` is set.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from billiard import common, popen_fork
from billiard import pool as billiard_pool
from celery import signals

_ENDS = signal.SIGQUIT if hasattr(signal, "SIGQUIT") else signal.SIGTERM


def prepare() -> None:
    """Let this process end its pool's processes by SIGQUIT; called before they fork."""
    if not common.REMAP_SIGTERM:
        billiard_pool.TERM_SIGNAL = popen_fork.TERM_SIGNAL = _ENDS
        signals.worker_process_init.connect(_leave_to_main, weak=False)


def translate(pool: Any) -> None:
    """Let a SIGTERM that Celery sends to a job, as a revoke does, reach its process."""
    if not common.REMAP_SIGTERM:
        native = pool.terminate_job

        def terminate_job(pid: int, number: int | None = None) -> Any:
            return native(pid, _ENDS if number == signal.SIGTERM else number)

        pool.terminate_job = terminate_job


def _leave_to_main(**_: Any) -> None:
    process = os.getpid()

    def handle(number: int, frame: Any) -> None:
        if os.getpid() != process:  # what a step forked may be terminated by it
            common._shutdown_cleanup(number, frame)

    # A handler, not SIG_IGN: programs that a step starts would ignore it too.
    common.TERMSIGS_DEFAULT.discard("SIGTERM")  # else billiard puts its own handler there next
    common.TERMSIGS_FULL.discard("SIGTERM")
    signal.signal(signal.SIGTERM, handle)
    signal.siginterrupt(signal.SIGTERM, False)
