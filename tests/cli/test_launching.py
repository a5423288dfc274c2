"""The start of a worker: its app, its options, the meaning of SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from celery import Celery
from click.testing import CliRunner

from agentq import AgentQ
from agentq.cli.mounting import mounted
from tests.cli.program import Inside

PROJECT = "from celery import Celery\nfrom agentq import AgentQ\napp = Celery('proj')\nAgentQ(app)\n"


@dataclass
class Begun:
    """The process that this one would have become."""

    command: list[str]
    environment: dict[str, str]

    @property
    def options(self) -> list[str]:
        """The options after ``celery -A APP worker``."""
        return self.command[self.command.index("worker") + 1 :]


class Launched(BaseException):
    """Raised in place of becoming another process; nothing catches it on the way."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Begun]:
    """The process that would have been begun."""
    seen: list[Begun] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert path == sys.executable
        seen.append(Begun(command, environment))
        raise Launched

    monkeypatch.setattr("os.execve", execve)
    monkeypatch.delenv("REMAP_SIGTERM", raising=False)
    return seen


@pytest.fixture
def project(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """A project whose app this process can import."""
    Path(inside.folder, "proj.py").write_text(PROJECT)
    monkeypatch.syspath_prepend(str(inside.folder))
    yield inside
    sys.modules.pop("proj", None)


def launch(program: Inside, begun: list[Begun], *arguments: str) -> Begun:
    """Run a command that begins a worker; returns how."""
    with pytest.raises(Launched):
        program.run(*arguments)
    return begun.pop()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-A", "proj", "worker", "-lWARNING", "-c", "2", "--queues=a,b", "-E"],
        ["worker", "-lWARNING", "-A", "proj", "-c", "2", "--queues=a,b", "-E"],
        ["worker", "-lWARNING", "-c", "2", "--queues=a,b", "-E", "--app=proj"],
    ],
    ids=["before", "between", "after"],
)
def test_options_are_passed_on_as_they_are(project: Inside, begun: list[Begun], arguments: list[str]) -> None:
    one = launch(project, begun, *arguments)
    assert one.command[:5] == [sys.executable, "-m", "celery", "-A", "proj"]
    assert one.options == ["-lWARNING", "-c", "2", "--queues=a,b", "-E"]


@pytest.mark.parametrize(
    ("pool", "meaning"),
    [
        ([], "SIGQUIT"),
        (["-P", "prefork"], "SIGQUIT"),
        (["-P", "threads"], None),
        (["-Pthreads"], None),
        (["--pool", "solo"], None),
        (["--pool=solo"], None),
    ],
    ids=str,
)
def test_sigterm_is_a_soft_shutdown_where_the_pool_can_stop_steps(
    project: Inside, begun: list[Begun], pool: list[str], meaning: str | None
) -> None:
    assert launch(project, begun, "worker", "-A", "proj", *pool).environment.get("REMAP_SIGTERM") == meaning


def test_the_pool_of_the_configuration_counts_too(project: Inside, begun: list[Begun]) -> None:
    with Path(project.folder, "proj.py").open("a") as file:
        file.write("app.conf.worker_pool = 'threads'\n")
    assert "REMAP_SIGTERM" not in launch(project, begun, "up", "-A", "proj").environment
    assert "REMAP_SIGTERM" in launch(project, begun, "worker", "-A", "proj", "-P", "prefork").environment


def test_a_choice_of_ones_own_stays(project: Inside, begun: list[Begun]) -> None:
    project.env["REMAP_SIGTERM"] = "SIGINT"
    assert launch(project, begun, "worker", "-A", "proj").environment["REMAP_SIGTERM"] == "SIGINT"


@pytest.mark.parametrize("command", ["up", "worker"])
def test_up_refuses_before_the_worker_would(project: Inside, command: str) -> None:
    assert "set AGENTQ_LEDGER instead" in project.error("--ledger", "sqlite:////x.db", command, "-A", "proj")
    with Path(project.folder, "proj.py").open("a") as file:
        file.write("app.conf.task_always_eager = True\n")
    assert "task_always_eager is on" in project.error("-A", "proj", command)


class TestMounted:
    """The commands inside another program."""

    def run(self, app: Celery | str, *arguments: str) -> Any:
        other = click.Group("other", commands={"agentq": mounted(app)})
        return CliRunner().invoke(other, ["agentq", *arguments], catch_exceptions=False)

    def app(self, folder: Path) -> Celery:
        app = Celery("given", set_as_current=False)
        AgentQ(app, ledger=f"sqlite:///{folder}/given.db")
        return app

    def test_commands_are_about_the_app_that_is_given(self, tmp_path: Path) -> None:
        app = self.app(tmp_path)
        assert self.run(app, "db", "upgrade").output.startswith(f"the ledger at sqlite:///{tmp_path}/given.db")
        assert self.run(app, "workflows").output == "no workflows\n"

    def test_it_may_be_given_by_its_name(self, project: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENTQ_LEDGER", f"sqlite:///{project.folder}/named.db")
        assert f"{project.folder}/named.db went from no schema" in self.run("proj", "db", "upgrade").output

    def test_a_worker_finds_what_no_module_holds_by_its_name(self, begun: list[Begun], tmp_path: Path) -> None:
        group = mounted(self.app(tmp_path), name="made.elsewhere")
        with pytest.raises(Launched):
            CliRunner().invoke(group, ["worker"], catch_exceptions=False)
        assert begun[0].command[4] == "made.elsewhere"

    def test_another_can_be_named(self, project: Inside, begun: list[Begun], tmp_path: Path) -> None:
        with pytest.raises(Launched):
            self.run("no.such.module", "-A", "proj", "worker")
        assert begun[0].command[4] == "proj"

    def test_a_worker_imports_the_app_from_the_module_that_holds_it(
        self, tmp_path: Path, begun: list[Begun], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = ModuleType("holding")
        module.celery_app = app = Celery("given", set_as_current=False)  # type: ignore[attr-defined]
        AgentQ(app)
        ended = self.run(app, "worker")
        assert ended.exit_code == 1
        assert "name it: -A MODULE" in ended.output
        monkeypatch.setitem(sys.modules, "holding", module)
        with pytest.raises(Launched):
            self.run(app, "worker", "-c", "2")
        assert begun[0].command[3:] == ["-A", "holding:celery_app", "worker", "-c", "2"]
