"""agentq in a Flask app: ``FlaskAgentQ(app)``, or ``FlaskAgentQ().init_app(app)``; see docs/flask.md."""

from agentq.contrib.flask.blueprint import status_blueprint
from agentq.contrib.flask.extension import FlaskAgentQ

__all__ = ["FlaskAgentQ", "status_blueprint"]
