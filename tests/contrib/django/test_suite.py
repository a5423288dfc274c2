"""The tests that run inside Django, by Django's own runner, on each database."""

from __future__ import annotations

import re

import pytest

from tests.contrib.django.project import Project

SUITE = "tests.contrib.django.suite"


@pytest.mark.parametrize("tests", ["transactions", "isolation", "pages", "walk", "limits"])
def test_inside_django(project: Project, tests: str) -> None:
    done = project.run("test", f"{SUITE}.{tests}", "--verbosity", "2")
    assert done.returncode == 0, done.stderr
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran is not None
    assert int(ran[1]) > 3


def test_the_examples_own_tests(project: Project) -> None:
    project.manage("test", "reports")


def test_the_suite_runs_in_parallel(project: Project) -> None:
    project.manage("test", f"{SUITE}.isolation", f"{SUITE}.transactions", "--parallel", "2")
