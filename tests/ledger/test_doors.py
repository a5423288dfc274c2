"""One place ends attempts, and one makes jobs ready or due: what else has to follow from that is added there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.setup.source import ROOT

LEDGER = ROOT / "agentq" / "ledger"
ENDS_ONE = {"succeed", "retry", "leave", "fail", "cancel_own", "release", "fail_overdue"}
"""The moves that take a job from the attempt that runs it."""
ENDS_SOME = {"cancel_jobs", "cancel_job", "cancel_members"}
"""The moves that cancel jobs, some of which may run."""


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in sorted(LEDGER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield path, node


def called(function: ast.FunctionDef, module: str = "") -> set[str]:
    """The names of what a function calls: of a module, or its own."""
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    if module:
        return {
            call.attr for call in calls if isinstance(call, ast.Attribute) and ast.unparse(call.value) == module
        }
    return {call.id for call in calls if isinstance(call, ast.Name)}


def test_only_the_end_of_an_attempt_writes_the_history() -> None:
    writes = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "agentq").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node).startswith(("insert(AttemptRow", "update(AttemptRow"))
    }
    assert writes == {"agentq/ledger/history.py"}


def test_a_function_that_takes_a_job_from_its_attempt_ends_the_attempt() -> None:
    found = {
        function.name: called(function) for _, function in functions() if called(function, "moves") & ENDS_ONE
    }
    assert len(found) >= 4
    assert [name for name, calls in found.items() if "end_attempt" not in calls] == []


def test_a_function_that_cancels_jobs_ends_the_attempts_that_ran_them() -> None:
    found = {
        function.name: called(function) for _, function in functions() if called(function, "moves") & ENDS_SOME
    }
    assert len(found) >= 5
    assert [name for name, calls in found.items() if "end_cancelled" not in calls] == []


def test_only_one_place_makes_jobs_ready_or_due() -> None:
    """A value of the column ``status`` that is queued or scheduled, outside of conditions, is written there."""
    writes = set()
    for path in (ROOT / "agentq" / "ledger").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            values = []
            if isinstance(node, ast.Dict):
                values = [
                    v for k, v in zip(node.keys, node.values, strict=True) if k and ast.unparse(k) == "'status'"
                ]
            elif isinstance(node, ast.Call):
                values = [keyword.value for keyword in node.keywords if keyword.arg == "status"]
            if any(
                text in ast.unparse(value) for value in values for text in ("Status.QUEUED", "Status.SCHEDULED")
            ):
                writes.add(path.relative_to(ROOT).as_posix())
    assert writes == {"agentq/ledger/moves/ready.py"}
