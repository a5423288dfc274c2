"""The caretaker in Celery's worker: it begins and ends with the worker, and knows of the revokes that come."""

from __future__ import annotations

import gc
from functools import wraps
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals

from agentq.runtime.bridge import configuration, pool_limits, pool_signals
from agentq.runtime.caretaker.caretaker import Caretaker, caretaker_of
from agentq.runtime.dispatch.task_ids import ids_of
from agentq.runtime.entry.revokes import texts
from agentq.runtime.find import engine_of
from agentq.runtime.log import greeting

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


class CaretakerStep(bootsteps.StartStopStep):
    """Celery's hook: opens the lease before the pool forks, runs the caretaker while the worker runs.

    Its threads begin after the pool's processes: a fork copies the locks that other threads hold, for ever.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        engine = engine_of(worker.app)
        configuration.require_usable(worker.app)
        engine.limits_file.require_known(engine.declared_limits())
        _listen_to_revokes()
        if engine.settings.consume_dead_letters:
            worker.app.amqp.queues.select_add(engine.settings.dead_letter_queue)
        self._caretaker = engine.caretaker = Caretaker(engine, worker)
        signals.worker_shutdown.connect(self._end, sender=worker, weak=False)

    def create(self, worker: Any) -> None:
        # The pool is there, and forks when it starts.
        if pool_limits.pool_name(worker.pool) == "prefork":
            _share_memory(engine_of(worker.app))
            pool_signals.prepare()

    def start(self, worker: Any) -> None:
        is_ledger_there = self._caretaker.start()
        greeting.log_start(engine_of(worker.app), worker, is_ledger_there)
        if pool_limits.pool_name(worker.pool) == "prefork":
            pool_signals.translate(worker.pool)
        pool_limits.warn_of_unenforced(engine_of(worker.app), worker.pool)

    def stop(self, worker: Any) -> None:
        self._caretaker.stop_claiming()

    def terminate(self, worker: Any) -> None:
        # A cold shutdown. What is given back must not run here any more, so the pool goes first.
        if worker.pool is not None:
            worker.pool.terminate()
        self._caretaker.end(is_cold=True)

    def _end(self, **_: Any) -> None:
        # A warm shutdown. Not in stop(): while the pool ends its last steps, the lease must be renewed.
        self._caretaker.end()


def _share_memory(engine: Engine) -> None:
    """Load what all processes of the pool need, and let no collector of theirs write to it: that would copy it."""
    engine.ledger.load()
    gc.collect()
    gc.freeze()


def _listen_to_revokes() -> None:
    """Let the caretaker of this process know of revokes that come, whatever its worker has reserved."""
    from celery.worker.control import Panel  # with much else that only a worker needs

    native = Panel.data["revoke"]
    if hasattr(native, "agentq"):
        return

    @wraps(native)
    def revoke(state: Any, task_id: Any, terminate: bool = False, *args: Any, **options: Any) -> Any:
        caretaker = caretaker_of(state.app)
        if caretaker is not None:
            for text in texts(task_id):
                caretaker.note_revoked(ids_of(text)[1], bool(terminate))
        return native(state, task_id, terminate, *args, **options)

    revoke.agentq = True  # type: ignore[attr-defined]
    Panel.data["revoke"] = revoke
