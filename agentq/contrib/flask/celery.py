"""A Flask app's Celery app, for workers: ``FLASK_APP=proj celery -A agentq.contrib.flask.celery worker``."""

from __future__ import annotations

import os

from celery import Celery
from flask.cli import ScriptInfo

from agentq.exceptions import ConfigurationError


def _load() -> Celery:
    flask_app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    found = flask_app.extensions.get("celery")
    if not isinstance(found, Celery):
        raise ConfigurationError(
            f"the Flask app {flask_app.name!r} has no Celery app; call FlaskAgentQ(app), of agentq.contrib.flask, "
            "where the app is made"
        )
    return found


app = _load()
