"""The extension: configuration, contexts, several apps in one process, commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery, Task, current_app, shared_task
from flask import Flask
from flask import current_app as current_flask_app
from flask_sqlalchemy import SQLAlchemy

import agentq
from agentq.contrib.flask import FlaskAgentQ
from agentq.exceptions import ConfigurationError, NotFound
from agentq.ledger.db import migrate
from agentq.operations import workflows
from agentq.testing.inline import Inline
from tests.contrib.flask.apps import make_app, tell_app, tell_app_later


@shared_task
def plain_app_name() -> str:
    """Return it from a plain task."""
    return str(current_flask_app.name)


class TestConfiguration:
    """The settings in ``AGENTQ`` and ``CELERY``."""

    def test_settings_and_celerys_configuration_are_used(self) -> None:
        app = make_app(AGENTQ={"ledger": "sqlite:///x.db", "lease": 30, "celery": {"broker_url": "redis://one"}})
        assert app.extensions["agentq"].settings.lease == 30
        assert app.extensions["agentq"].app is app.extensions["celery"]
        assert app.extensions["celery"].conf.broker_url == "redis://one"

    def test_celerys_configuration_may_be_where_flasks_documentation_has_it(self) -> None:
        assert make_app(CELERY={"broker_url": "redis://two"}).extensions["celery"].conf.broker_url == "redis://two"

    def test_a_celery_app_that_is_there_is_used(self) -> None:
        app = Flask("adopting")
        app.extensions["celery"] = own = Celery("own", set_as_current=False)
        FlaskAgentQ().init_app(app)
        assert app.extensions["agentq"].app is own

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"leese": 3}, "Did you mean 'lease'?"),
            ({"lease": -1}, "agentq_lease"),
            ({"celery": "redis://"}, "AGENTQ['celery'] is str; it must be a dict"),
            ("sqlite://", "AGENTQ is str; it must be a dict"),
        ],
    )
    def test_an_invalid_setting_is_an_error_when_the_app_is_made(self, given: object, expected: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            make_app(AGENTQ=given)
        assert expected in str(caught.value)

    def test_a_second_set_up_is_an_error(self) -> None:
        app = make_app()
        with pytest.raises(ConfigurationError, match="call init_app once"):
            FlaskAgentQ(app)

    def test_an_agentq_that_the_celery_app_has_is_used(self) -> None:
        celery = Celery("own", broker="redis://nowhere.invalid", set_as_current=False)
        own = agentq.AgentQ(celery, ledger="postgresql://nowhere.invalid/none")
        web = Flask("web")
        web.extensions["celery"] = celery
        FlaskAgentQ(web)
        assert web.extensions["agentq"] is own is celery.agentq
        assert "agentq" in web.cli.commands
        with web.app_context(), Inline(celery):
            assert agentq.start(plain_app_name.s()).result(timeout=0) == "web"
        other = Flask("other")
        other.extensions["celery"] = celery
        other.config["AGENTQ"] = {"lease": 30}
        with pytest.raises(ConfigurationError, match=r"AGENTQ\['lease'\] would not be read"):
            FlaskAgentQ(other)

    def test_configuration_that_would_not_be_read_is_an_error(self) -> None:
        app = Flask("adopting")
        app.extensions["celery"] = Celery("own", set_as_current=False)
        app.config["AGENTQ"] = {"celery": {}}
        with pytest.raises(ConfigurationError, match="would not be read"):
            FlaskAgentQ(app)


class TestContexts:
    """Flask's context in steps, and Celery's current app in Flask's context."""

    @pytest.mark.parametrize("step", [tell_app, tell_app_later], ids=["def", "async def"])
    def test_a_step_runs_inside_the_application_context(self, step: agentq.Step[[], str]) -> None:
        first, second = make_app("first"), make_app("second")
        for app in (first, second):
            with Inline(app.extensions["celery"]):
                assert agentq.start(step.s()).result(timeout=0) == app.name

    def test_a_plain_task_runs_in_its_own_flask_app_too(self) -> None:
        with Inline(make_app("first").extensions["celery"]):
            assert agentq.start(plain_app_name.s()).result(timeout=0) == "first"

    def test_a_task_base_of_ones_own_stays_in_force(self) -> None:
        seen = []

        class OwnTask(Task):
            def __call__(self, *args: object, **kwargs: object) -> object:
                seen.append(self.request.id)
                return f"own {super().__call__(*args, **kwargs)}"

        app = Flask("adopting")
        app.extensions["celery"] = Celery("own", task_cls=OwnTask, broker="redis://nowhere.invalid")
        FlaskAgentQ(app)
        with app.app_context(), Inline(app.extensions["celery"]):
            workflow = agentq.start(tell_app.s())
            assert workflow.result(timeout=0) == "own adopting"
            assert seen == [str(job.id) for job in workflow.jobs()]

    def test_a_start_is_the_current_flask_apps(self) -> None:
        first, second = make_app("first"), make_app("second")
        before = current_app._get_current_object()
        with first.app_context():
            assert current_app._get_current_object() is first.extensions["celery"]
            with second.app_context():
                assert tell_app.task.app is second.extensions["celery"]
            assert tell_app.task.app is first.extensions["celery"]
        assert current_app._get_current_object() is before


def test_flask_sqlalchemys_session_takes_a_start_with_it(empty_database: str) -> None:
    app = make_app(AGENTQ={"ledger": empty_database}, SQLALCHEMY_DATABASE_URI=empty_database)
    db = SQLAlchemy(app)
    ledger = app.extensions["agentq"].ledger
    migrate.upgrade(ledger)
    with app.app_context():
        dropped = agentq.start(tell_app.s(), session=db.session)
        db.session.rollback()
        kept = agentq.start(tell_app.s(), session=db.session)
        assert workflows.count(ledger, workflows.WorkflowFilter()) == 0
        db.session.commit()
        assert kept.status == "running"
        with pytest.raises(NotFound):
            _ = dropped.status
        db.engine.dispose()
    ledger.close()


class TestCommands:
    """``flask agentq``."""

    def test_each_app_has_its_own(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            url = f"sqlite:///{tmp_path}/{name}.db"
            runner = make_app(name, AGENTQ={"ledger": url}).test_cli_runner()
            assert runner.invoke(args=["agentq", "db", "upgrade"]).output.startswith(f"the ledger at {url}")
            assert runner.invoke(args=["agentq", "workflows"]).output == "no workflows\n"


def test_a_request_whose_start_is_over_a_cap_is_answered_with_429() -> None:
    app = make_app("capped", AGENTQ={"ledger": "postgresql://nowhere.invalid/none", "max_open": 1})

    @app.post("/")
    def start() -> str:
        return agentq.start(tell_app.s()).id

    with Inline(app.extensions["celery"]):
        client = app.test_client()
        assert client.post("/").status_code == 200
        answer = client.post("/")
    assert (answer.status_code, answer.mimetype) == (429, "application/problem+json")
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
    assert answer.json is not None
    assert (answer.json["cap"], answer.json["most"], answer.json["count"]) == ("max_open", 1, 1)
    assert "Nothing was started: try again in 1 s" in answer.json["detail"]
