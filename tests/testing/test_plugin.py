"""The plugin as a user has it: installed, not configured, in a project of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
from celery import Celery
from agentq import AgentQ, step

app = Celery("project", broker="redis://nowhere.invalid")
AgentQ(app, ledger="postgresql://nowhere.invalid/none")

@step
def double(x: int) -> int:
    return 2 * x

@app.task
def plain(x):
    return x
"""
TEST = """
import agentq, project

def test_inline(agentq_inline):
    assert agentq.start(project.double.s(2)).result(0) == 4
"""


def test_the_fixture_finds_the_app_that_the_test_imports(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(project=PROJECT, test_it=TEST)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.long
def test_the_app_can_be_named(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nagentq_app = project:app\npythonpath = .")
    other = "from celery import Celery\nother = Celery('other')\n"
    pytester.makepyfile(project=PROJECT, test_it=other + TEST)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.long
def test_the_app_can_be_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import project, pytest\n@pytest.fixture\ndef agentq_app(): return project.app")
    other = "from celery import Celery\nother = Celery('other')\n"
    pytester.makepyfile(project=PROJECT, test_it=other + TEST)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_without_an_app_it_says_how_to_name_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_inline(agentq_inline): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the current Celery app, 'default', has no AgentQ;*agentq_app = proj*"])


@pytest.mark.long
def test_a_worker_runs_the_apps_jobs_whatever_it_is_configured_to_use(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        project=PROJECT,
        test_it="""
        import os, agentq, project, pytest

        def test_worker(agentq_worker):
            assert agentq.start(project.double.s(2) | project.plain.s()).result(30) == 4
            assert agentq.start(project.double.s(2), key="a").is_new

        @pytest.mark.xfail(strict=True)
        def test_again(agentq_worker):
            assert agentq.start(project.double.s(2), key="a").is_new, "each test has its own ledger"
            print("pid", agentq_worker.pid)
            assert 0

        def test_after(agentq_worker):
            assert project.app.conf.broker_url.startswith("redis+socket")

        def test_back():
            assert project.app.conf.broker_url == "redis://nowhere.invalid"
            assert not any(name.startswith("CELERY_BROKER") for name in os.environ)
        """,
    )
    result = pytester.runpytest_subprocess("-rA")
    result.assert_outcomes(passed=3, xfailed=1)


@pytest.mark.long
def test_the_log_of_the_worker_is_shown_with_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(project=PROJECT, test_it="import project\ndef test_worker(agentq_worker): assert 0")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured stderr teardown*", "*celery@* ready.*", "*Warm shutdown*"])


@pytest.mark.long
def test_a_worker_that_does_not_start_says_why(pytester: pytest.Pytester) -> None:
    broken = PROJECT + "import os\nif os.environ.get('CELERY_BROKER_URL'): raise RuntimeError('no such thing')\n"
    pytester.makepyfile(project=broken, test_it="import project\ndef test_worker(agentq_worker): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: the worker did not start:*", "*no such thing*"])


def test_it_costs_nothing_where_it_is_not_used() -> None:
    heavy = ("celery", "kombu", "sqlalchemy", "alembic", "pydantic", "redis")
    code = f"import agentq.testing.plugin, sys; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "[]"
