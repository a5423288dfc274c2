"""``FlaskAgentQ``: agentq as an extension of Flask."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from flask import Flask

from agentq.contrib.backlog import flask as backlog
from agentq.contrib.flask import commands, options
from agentq.contrib.flask.current import CurrentApp
from agentq.exceptions import BacklogFull, ConfigurationError
from agentq.runtime import app as runtime


class FlaskAgentQ:
    """Set agentq up on Flask apps.

    Args:
        app: the Flask app; or none, and ``init_app`` is called for each, as an app factory does.

    Raises what ``init_app`` raises.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set agentq up on one Flask app, as ``app.config["AGENTQ"]`` says.

        Its Celery app is ``app.extensions["celery"]``, which is made where there is none; an ``AgentQ`` that it
        has already is used as it is. ``agentq.start`` and ``step.delay`` are about it wherever *app* is Flask's
        current app. ``app.extensions["agentq"]`` is the ``agentq.AgentQ`` of the Celery app, and ``flask agentq``
        has its commands. A request whose start raises BacklogFull is answered with 429, unless *app* is given
        another handler of that error afterwards.

        Raises ConfigurationError where the configuration does not fit or would not be read, or this was called for
        *app* already.
        """
        if "agentq" in app.extensions:
            raise ConfigurationError(f"the Flask app {app.name!r} has an AgentQ already; call init_app once")
        chosen = options.load(app)
        celery = _celery_app(app, chosen)
        agentq = getattr(celery, "agentq", None) or runtime.AgentQ(celery, **chosen.settings)
        _ = agentq.settings  # a setting that does not fit is an error when the app is made
        app.extensions["agentq"] = agentq
        app.extensions["agentq.current"] = CurrentApp(app, celery)
        app.cli.add_command(commands.of(celery))
        app.register_error_handler(BacklogFull, backlog.response)


def _celery_app(app: Flask, chosen: options.FlaskOptions) -> Celery:
    found = app.extensions.get("celery")
    if found is None:
        found = app.extensions["celery"] = _make_celery_app(app, chosen.celery)
    elif hasattr(found, "agentq") and chosen.settings:
        raise ConfigurationError(
            f"the Celery app of the Flask app {app.name!r} has an AgentQ already, so "
            f"AGENTQ[{next(iter(chosen.settings))!r}] would not be read; give the settings where that AgentQ is "
            "made, or leave it to the extension, which makes one with the settings in AGENTQ"
        )
    elif "celery" in app.config.get("AGENTQ", {}):
        raise ConfigurationError(
            f"the Flask app {app.name!r} has a Celery app in app.extensions['celery'], so AGENTQ['celery'] would "
            "not be read; configure that app, and take AGENTQ['celery'] out"
        )
    return found


def _make_celery_app(app: Flask, configuration: Any) -> Celery:
    """Make the Celery app as Flask's documentation does."""

    class FlaskTask(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(configuration)
    celery.set_default()
    return celery
