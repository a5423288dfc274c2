"""The places of a setting, and those of Celery's own that are refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from agentq import AgentQ
from agentq.canvas.compile import compile_canvas
from agentq.exceptions import ConfigurationError
from tests.support import Broker, Worker, sqlite_file
from tests.support.limited import ask


@pytest.fixture
def app() -> Celery:
    return Celery("configured", set_as_current=False)


def test_a_setting_of_the_apps_configuration(app: Celery) -> None:
    app.conf.agentq_lease = 7
    assert AgentQ(app).settings.lease == 7


def test_a_setting_after_agentq_was_set_up(app: Celery) -> None:
    agentq = AgentQ(app)
    app.conf.update(agentq_tenant="umbrella")
    assert agentq.settings.tenant == "umbrella"


def test_a_setting_of_the_environment(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTQ_LEASE", "8")
    assert AgentQ(app).settings.lease == 8


def test_a_setting_in_a_namespace(app: Celery) -> None:
    app.config_from_object(SimpleNamespace(CELERY_AGENTQ_LEASE=9, CELERY_TIMEZONE="UTC"), namespace="CELERY")
    assert AgentQ(app).settings.lease == 9


def test_code_binds_more_than_configuration_and_that_more_than_the_environment(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTQ_LEASE", "8")
    monkeypatch.setenv("AGENTQ_TENANT", "environment")
    app.conf.update(agentq_lease=7, agentq_tenant="configuration")
    settings = AgentQ(app, lease=6).settings
    assert (settings.lease, settings.tenant) == (6, "configuration")


@pytest.mark.parametrize("where", ["code", "configuration"])
def test_an_unknown_setting_names_the_nearest(app: Celery, where: str) -> None:
    if where == "configuration":
        app.conf.agentq_leese = 7
    given: dict[str, Any] = {"leese": 7} if where == "code" else {}
    agentq = AgentQ(app, **given)
    with pytest.raises(ConfigurationError, match=r"no setting agentq_leese.*'lease'"):
        _ = agentq.settings


def test_a_wrong_value_names_its_setting(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=r"agentq_lease .or AGENTQ_LEASE. is wrong"):
        _ = AgentQ(app, lease=-1).settings


def test_the_limits_file_holds_for_what_is_started(app: Celery, tmp_path: Path) -> None:
    file = Path(tmp_path, "limits.toml")
    file.write_text('[limits."model:small"]\nslots = 9\n')
    app.conf.agentq_limits = str(file)
    agentq = AgentQ(app)
    graph = compile_canvas(ask.s("small"), agentq.catalogue, agentq.defaults())
    assert graph.meters["model:small"].slots == 9


def test_a_worker_does_not_start_with_a_limits_file_that_names_no_limit(
    redis_broker: Broker, tmp_path: Path
) -> None:
    file = Path(tmp_path, "limits.toml")
    file.write_text("[limits.modle]\nslots = 9\n")
    worker = Worker(
        redis_broker,
        sqlite_file(tmp_path),
        arguments=("-I", "tests.support.limited"),
        env={"AGENTQ_LIMITS": str(file)},
    )
    with pytest.raises(AssertionError, match="ended while it started") as failure, worker:
        pass
    [log] = failure.value.__notes__
    assert "line 1: no code declares limit 'modle'. Did you mean 'model'?" in log


def test_a_worker_with_always_eager_does_not_start(redis_broker: Broker, tmp_path: Path) -> None:
    Path(tmp_path, "eager.py").write_text(
        "from tests.support.project import app\n\napp.conf.task_always_eager = True\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(tmp_path), str(root)])
    worker = Worker(redis_broker, sqlite_file(tmp_path), module="eager", env={"PYTHONPATH": path})
    with pytest.raises(AssertionError, match="ended while it started") as failure, worker:
        pass
    assert "task_always_eager is on, so steps would run without the ledger; turn it off" in str(
        failure.value.__notes__
    )
