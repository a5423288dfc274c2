"""Flask apps and steps for the tests."""

from __future__ import annotations

import asyncio
from typing import Any

from flask import Flask, current_app

from agentq import step
from agentq.contrib.flask import FlaskAgentQ


@step
def tell_app() -> str:
    """Return the name of the current Flask app."""
    return str(current_app.name)


@step
async def tell_app_later() -> str:
    """Return it from a coroutine."""
    await asyncio.sleep(0)
    return str(current_app.name)


@step
def sign_in(name: str) -> dict[str, str]:
    """Return something with a secret in it."""
    return {"name": name, "password": "hunter2"}


@step(retries=0)
def break_down() -> None:
    """Fail."""
    raise LookupError("it is not here")


def make_app(name: str = "first", **config: Any) -> Flask:
    """Return a Flask app whose services are nowhere, unless the configuration says otherwise."""
    app = Flask(name)
    app.config["AGENTQ"] = {"ledger": "postgresql://nowhere.invalid/none"}
    app.config["CELERY"] = {"broker_url": "redis://nowhere.invalid"}
    app.config.update(config)
    FlaskAgentQ(app)
    return app
