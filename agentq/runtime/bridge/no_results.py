"""The answer of an app without a result backend to a caller of one: the place of agentq's results."""

from __future__ import annotations

from typing import Any, NoReturn

from celery.backends.base import DisabledBackend


class NoResults(DisabledBackend):
    """Celery's own in that place, but it says what to ask instead."""

    def _is_disabled(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(  # the error of Celery's own method, for which callers are prepared
            f"the Celery app {self.app.main!r} has no result backend, so an AsyncResult knows nothing. Results of "
            "steps and workflows are in the ledger: ask the Workflow that start(), delay() and apply_async() "
            "return, or, by its id, agentq.workflow(id). For results of Celery's own tasks, set result_backend"
        )

    get_state = get_status = get_result = get_traceback = get_task_meta = _is_disabled
    get_task_meta_for = _get_task_meta_for = wait_for = wait_for_pending = get_many = forget = _is_disabled
