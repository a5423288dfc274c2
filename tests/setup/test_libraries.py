"""A library is imported by the package that it belongs to, and elsewhere by named modules alone."""

from __future__ import annotations

import ast

import pytest

from tests.setup.source import imports, modules, part_of, tree_of

HOMES = {
    "celery": ("runtime",),
    "kombu": ("runtime",),
    "sqlalchemy": ("ledger",),
    "alembic": ("ledger",),
    "psycopg": ("ledger",),
    "flower": ("contrib",),
    "django": ("contrib",),
    "flask": ("contrib",),
    "starlette": ("contrib",),
    "greenlet": ("runtime",),
    "billiard": ("runtime",),
    "click": ("cli", "demo"),
    "cronsim": ("policies",),
    "rich": ("demo",),
}
"""The packages that a library belongs to."""

_APP = "it is given an app, or finds one by its name"
_SIGNATURES = "a canvas is made of Celery's signatures"
_IN_A_TEST = "a test's app, worker or messages"
_SESSION = "the type of the session that an author is given"
EXCEPTIONS = {
    "celery": {
        "agentq.canvas.compile": _SIGNATURES,
        "agentq.canvas.each": _SIGNATURES,
        "agentq.canvas.flattening": _SIGNATURES,
        "agentq.canvas.options": _SIGNATURES,
        "agentq.canvas.signatures": _SIGNATURES,
        "agentq.canvas.sleep": _SIGNATURES,
        "agentq.cli.application": _APP,
        "agentq.cli.mounting": _APP,
        "agentq.cli.target": _APP,
        "agentq.contrib.django.project": _APP,
        "agentq.contrib.django.tasks.backend": "a task of Django starts as a canvas of one signature",
        "agentq.contrib.flask.celery": "it makes the app of a Flask application",
        "agentq.contrib.flask.commands": _APP,
        "agentq.contrib.flask.current": "the current app is the one of the current Flask application",
        "agentq.contrib.flask.extension": "tasks of its app run in the application's context",
        "agentq.demo.app": "the demo is an application",
        "agentq.demo.steps": "the demo is an application",
        "agentq.testing.apps": _IN_A_TEST,
        "agentq.testing.inline": _IN_A_TEST,
        "agentq.testing.mailbox": _IN_A_TEST,
        "agentq.testing.plugin": _IN_A_TEST,
        "agentq.testing.swaps": _IN_A_TEST,
        "agentq.testing.worker": _IN_A_TEST,
        "agentq.testing.worker_process": _IN_A_TEST,
    },
    "kombu": {"agentq.demo.runner": "the demo says when its broker does not answer"},
    "sqlalchemy": {
        "agentq.contrib.django.connection": "Django's connection is the ledger's",
        "agentq.contrib.django.ledger": "Django's connection is the ledger's",
        "agentq.embedded.server": "the address of a file, quoted as the ledger reads it",
        "agentq.outcomes": _SESSION,
        "agentq.runtime.start.session": "a start joins the transaction of an application's session",
        "agentq.steps.context": _SESSION,
        "agentq.testing.memory": "a ledger in memory, with a clock of the test's",
    },
    "click": {"agentq.contrib.flask.commands": "Flask's commands are click's"},
}
"""The other modules that import a library, also for its types alone, each with the reason."""

STATEMENTS = {
    "agentq.contrib.django.ledger": "it limits the time of statements on Django's connection",
    "agentq.testing.clock": "SQLite itself reckons with the times of the test's clock",
}
"""Modules outside the ledger that run a statement, each with the reason."""
_RUNS = {"exec_driver_sql", "execute", "executemany", "scalar", "scalars"}
"""Methods of a connection that run a statement."""


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_home_and_by_named_modules(library: str) -> None:
    users = {module for module in modules() if any(n.partition(".")[0] == library for n in imports(module))}
    assert {module for module in users if part_of(module) not in HOMES[library]} == {*EXCEPTIONS.get(library, ())}


def test_statements_are_run_by_the_ledger_and_by_named_modules() -> None:
    users = {module for module in modules() if any(map(_runs_a_statement, ast.walk(tree_of(module))))}
    assert {module for module in users if part_of(module) != "ledger"} == {*STATEMENTS}


def test_the_tables_are_known_to_the_ledger_alone() -> None:
    users = {module for module in modules() if "agentq.ledger.models" in imports(module)}
    assert {part_of(module) for module in users} == {"ledger"}


def _runs_a_statement(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in _RUNS
    return False
