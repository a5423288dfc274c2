"""Celery's revoke, which workers keep in memory only: it reaches the ledger, which forgets nothing."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.control import Control as CeleryControl
from celery.utils.functional import maybe_list
from kombu.utils.imports import symbol_by_name

from agentq.exceptions import LedgerUnavailable
from agentq.ledger import revokes
from agentq.runtime.dispatch.task_ids import ids_of
from agentq.runtime.find import engine_of

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)


class Control(CeleryControl):
    """An app's ``control``: a revoked job is cancelled in the ledger, then the workers get the revoke."""

    def broadcast(self, command: str, arguments: Any = None, *args: Any, **options: Any) -> Any:
        """Send a control command, as Celery's does."""
        if command in ("revoke", "terminate"):
            given = {**(arguments or {}), **options}
            _revoke(self.app, given.get("task_id"), command == "terminate" or bool(given.get("terminate")))
        return super().broadcast(command, arguments, *args, **options)


def reach_ledger(app: Celery) -> None:
    """Give the app a ``control`` whose revokes reach the ledger; made when it is first used, as Celery's is."""
    own: Any = symbol_by_name(app.control_cls)  # type: ignore[no-untyped-call]
    if not issubclass(own, Control):
        app.control_cls = Control if own is CeleryControl else type(own.__name__, (Control, own), {})
    vars(app).pop("control", None)


def texts(task_ids: Any) -> list[str]:
    """Return the ids that a revoke names, which may be one or many."""
    return [str(task_id) for task_id in maybe_list(task_ids) or ()]


def cancel_revoked(engine: Engine, revoked: Mapping[uuid.UUID, bool]) -> None:
    """Cancel the jobs and workflows among these ids; with True, also one whose step runs."""
    for id_ in engine.ledger.read(lambda connection: revokes.known_among(connection, revoked)):
        engine.ledger.write(partial(revokes.revoke, id_=id_, terminate=revoked[id_]))


def _revoke(app: Any, task_ids: Any, terminate: bool) -> None:
    engine = engine_of(app)
    revoked = {ids_of(task_id)[1]: terminate for task_id in texts(task_ids)}
    try:
        engine.ensure_ledger()
        cancel_revoked(engine, revoked)
    except LedgerUnavailable as error:  # the workers hear of it, and keep it until the ledger is back
        logger.warning("what is revoked is not cancelled in the ledger yet: %s", error)
