"""agentq in a Flask app: ``AgentQ(app)``, or ``AgentQ().init_app(app)``; see docs/flask.md."""

from agentq.contrib.flask.blueprint import status_blueprint
from agentq.contrib.flask.extension import AgentQ

__all__ = ["AgentQ", "status_blueprint"]
