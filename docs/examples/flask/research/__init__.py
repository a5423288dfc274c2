"""The example application: ``flask --app research run``. SQLite, unless RESEARCH_DATABASE is another URL."""

import os
from pathlib import Path

from flask import Flask

from agentq.contrib.flask import FlaskAgentQ, status_blueprint
from research.access import is_of_its_tenant, tenant_of
from research.models import create_tables, db
from research.views import reports

agentq = FlaskAgentQ()


def create_app() -> Flask:
    """Make the application."""
    app = Flask(__name__)
    folder = Path(os.environ.get("RESEARCH_DATA", app.root_path)).resolve()
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=os.environ.get("RESEARCH_DATABASE", f"sqlite:///{folder}/research.db"),
        TOKENS={"token-of-acme": "acme", "token-of-other": "other"},
    )
    app.config["AGENTQ"] = {
        "ledger": app.config["SQLALCHEMY_DATABASE_URI"],
        "folder": folder / ".agentq",  # of the private broker, which is used unless CELERY names another
    }
    if "RESEARCH_BROKER" in os.environ:
        app.config["CELERY"] = {"broker_url": os.environ["RESEARCH_BROKER"]}
    db.init_app(app)
    agentq.init_app(app)
    app.register_blueprint(reports, url_prefix="/reports")
    app.register_blueprint(status_blueprint(is_of_its_tenant, actor=tenant_of), url_prefix="/workflows")
    app.cli.add_command(create_tables)
    return app
