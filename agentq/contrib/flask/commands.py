"""``flask agentq …``: the same commands as ``agentq``, with the Flask app's Celery app and ledger."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flask.cli import ScriptInfo, pass_script_info

from agentq.cli.mounting import mounted

if TYPE_CHECKING:
    from celery import Celery
    from click import Group

_WORKERS_APP = "agentq.contrib.flask.celery"


def of(celery: Celery) -> Group:
    """Return the group of all commands, for ``app.cli``."""
    group = mounted(celery, name=_WORKERS_APP)
    enter: Any = group.callback

    @pass_script_info
    def enter_flask(info: ScriptInfo, /, **options: Any) -> Any:
        if info.app_import_path:  # a worker is a process of its own, which has to find the same Flask app
            os.environ["FLASK_APP"] = info.app_import_path
        return enter(**options)

    group.callback = enter_flask
    return group
