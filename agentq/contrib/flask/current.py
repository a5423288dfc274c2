"""Celery's current app follows Flask's, so that several Flask apps in one process do not mix their workflows."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery, _state
from flask import Flask, appcontext_popped, appcontext_pushed


class CurrentApp:
    """Makes the Celery app the current one in each context of the Flask app, and gives way after it.

    Flask pops a context in the thread that pushed it, the innermost first.
    """

    def __init__(self, app: Flask, celery: Celery) -> None:
        self._celery = celery
        self._outer = _Outer()
        appcontext_pushed.connect(self._enter, sender=app)
        appcontext_popped.connect(self._leave, sender=app)

    # Celery's public names cannot tell a thread that has no app of its own from one that has the default, nor take
    # the app from a thread again. A variable of agentq's own would not reach Celery's shared tasks.
    def _enter(self, _: Flask, **__: Any) -> None:
        self._outer.apps.append(_state._tls.current_app)
        self._celery.set_current()

    def _leave(self, _: Flask, **__: Any) -> None:
        _state._set_current_app(self._outer.apps.pop())


class _Outer(threading.local):
    def __init__(self) -> None:
        self.apps: list[Celery | None] = []
