"""``manage.py``: migrations of the ledger, agentq's own commands, and settings that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentq.ledger.db.schema import REVISION
from tests.contrib.django.project import ROOT, Project

REVISIONS = sorted(path.stem for path in (ROOT / "agentq/ledger/db/migrations/versions").glob("[0-9]*.py"))
MIGRATIONS = ROOT / "agentq/contrib/django/migrations"
SETTINGS = "from research.settings import *\n"


def test_each_revision_of_the_ledger_has_a_migration() -> None:
    assert sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py")) == REVISIONS
    for name in REVISIONS:
        assert f'ledger_revision("{name[:4]}")' in (MIGRATIONS / f"{name}.py").read_text()


def test_migrate_creates_the_ledger_and_nothing_is_left_to_make(project: Project) -> None:
    project.manage("migrate")
    assert project.manage("agentq", "db", "current").strip() == REVISION
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")
    project.manage("check")


@pytest.mark.long
def test_migrations_go_back_and_forth_one_by_one(migrated: Project) -> None:
    for target, expected in (("0001", "older than this code"), ("zero", "no schema"), ("", "")):
        migrated.manage("migrate", "agentq", *([target] if target else []))
        done = migrated.run("agentq", "db", "current")
        assert expected in done.stderr
        assert (done.returncode == 0) == (expected == "")


def test_a_ledger_that_is_there_already_is_taken_over(project: Project) -> None:
    project.manage("agentq", "db", "upgrade")
    project.shell("from agentq.contrib.django.models import Workflow; assert Workflow.objects.count() == 0")
    project.manage("migrate")
    assert project.manage("agentq", "db", "current").strip() == REVISION


def test_a_start_without_the_tables_names_the_command(project: Project) -> None:
    done = project.run("shell", "-c", "import agentq; from reports.tasks import find; agentq.start(find.s('x'))")
    assert "manage.py migrate" in done.stderr


def test_a_silent_database_is_an_error(project: Project) -> None:
    nowhere = {"PGPORT": "1", "RESEARCH_DATA": "/nowhere", "AGENTQ_LEDGER_TIMEOUT": "0.5"}
    code = "import agentq; from reports.tasks import find; agentq.start(find.s('x'))"
    done = project.run("shell", "-c", code, env=nowhere)
    assert done.stderr.splitlines()[-1].startswith("agentq.exceptions.Ledger")


def test_the_commands_are_agentqs_own(migrated: Project) -> None:
    found = migrated.shell("import agentq; from reports.tasks import find; print(agentq.start(find.s('x')).id)")
    assert found.split()[-1] in migrated.manage("agentq", "workflows", "list")
    assert "manage.py agentq" in migrated.manage("agentq", "--help")
    done = migrated.run("agentq", "workflows", "show", "0" * 32)
    assert (done.returncode, done.stderr.startswith("error: ")) == (1, True)


def test_celerys_own_commands_find_the_project(migrated: Project) -> None:
    done = migrated.celery("agentq", "db", "current")
    assert done.stdout.strip() == REVISION, done.stderr


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("AGENTQ = {'LEASES': 3}", "Did you mean 'LEASE'?"),
        ("AGENTQ = {'LEDGER': 'sqlite:///x'}", "name its alias with AGENTQ['DATABASE']"),
        ("AGENTQ = {'APP': 'nowhere.celery'}", "the Celery app 'nowhere.celery' cannot be loaded"),
        ("AGENTQ = {'DATABASE': 'defualt'}", "Did you mean 'default'?"),
        ("AGENTQ = {**AGENTQ, 'LEASE': -1}", "agentq_lease"),
    ],
)
def test_an_invalid_setting_is_an_error(tmp_path: Path, setting: str, expected: str) -> None:
    assert expected in _checked(tmp_path, setting)


def test_an_unsupported_database_is_an_error(tmp_path: Path) -> None:
    dummy = "DATABASES = {'default': {'ENGINE': 'django.db.backends.dummy'}}"
    assert "the ledger cannot live in the database 'default'" in _checked(tmp_path, dummy)


def test_an_app_with_an_agentq_of_its_own_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from celery import Celery\nimport agentq\nagentq.AgentQ(app := Celery('own'))\n"
    )
    assert "take AgentQ(…) out" in _checked(tmp_path, "AGENTQ = {'APP': 'own'}")


def _checked(folder: Path, setting: str) -> str:
    (folder / "changed.py").write_text(f"{SETTINGS}{setting}\n")
    project = Project("sqlite://", folder, settings="changed")
    project.environment["PYTHONPATH"] += f":{folder}"
    done = project.run("check")
    assert done.returncode != 0
    return done.stderr
