"""Fixtures: the example project on each database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.contrib.django.project import Project


@pytest.fixture(autouse=True)
def _django() -> None:
    if find_spec("django") is None:
        pytest.skip("Django is not installed for this Python; pip install 'celery-agentq[django]'")


@pytest.fixture
def project(empty_database: str, tmp_path: Path) -> Project:
    """The example project with an empty database, on SQLite and on PostgreSQL."""
    return Project(empty_database, tmp_path)


@pytest.fixture
def migrated(project: Project) -> Project:
    """The example project with its tables."""
    project.manage("migrate", "--verbosity", "0")
    return project
