"""The log texts of the package: words that people know, and the job that each is about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from agentq.runtime.log.troubles import CALLED
from tests.setup.source import PACKAGE, modules, tree_of

METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
OUTAGE = "Outage"
PRIVATE = re.compile(
    r"\b(bells?|rings?|rung|ringing|ring_\w+|duty|duties|caretaker\w*|claim\w*|token|fence\w*|sweep\w*|hand-over|"
    r"[a-z]+_[a-z_]+)\b"
)
"""Words of the inside, and names of Python's."""
OF_A_JOB = re.compile(r"^\s*(step|job|attempt)\b|\b(job|attempt)[ =]%[ds]:")
"""The beginning of a line that is about one job, and comes from no ``job_log``."""
BOUND = re.compile(r"\blog$|\blog\(\)$|_log_of\(|\._log\(\)|job_log\(")
"""The names of a logger of one job."""


class Line:
    """One text that the package logs."""

    def __init__(self, place: str, owner: str, level: str, text: str) -> None:
        self.place, self.owner, self.level, self.text = place, owner, level, text

    def __repr__(self) -> str:
        return f"{self.place}: {self.owner}.{self.level}({self.text!r})"


@cache
def lines() -> list[Line]:
    """Every text that a logger of the package is given."""
    return [line for module in modules() for line in _lines_of(module)]


def _lines_of(module: str) -> Iterator[Line]:
    tree = tree_of(module)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        place = f"{module}:{call.lineno}"
        match call.func:
            case ast.Attribute(attr=method, value=owner) if method in METHODS and "log" in ast.unparse(owner):
                texts = call.args[1:2] if method == "log" else call.args[:1]
                yield from (Line(place, ast.unparse(owner), method, _text(tree, text)) for text in texts)
            case ast.Name(id="Outage"):
                yield from (Line(place, OUTAGE, "", _text(tree, text)) for text in call.args[1:3])


def _text(tree: ast.Module, node: ast.expr) -> str:
    """Return a literal, or the constant of the module, or of an assignment, that a name stands for."""
    if isinstance(node, ast.Name):
        values = [
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Assign) and node.id in map(ast.unparse, each.targets)
        ]
        return _text(tree, values[0]) if values else "(a parameter)"
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "%s" for part in node.values)  # type: ignore[misc]
    assert isinstance(node, ast.Constant), f"line {node.lineno}: log a literal text with its arguments"
    return str(node.value)


def test_the_walk_sees_lines_of_each_kind() -> None:
    owners = {line.owner for line in lines()}
    assert {"logger", OUTAGE} <= owners
    assert any(BOUND.search(owner) for owner in owners)


def test_a_line_has_no_words_of_the_inside() -> None:
    shown = [line for line in lines() if line.level != "debug"]
    assert [(line, words) for line in shown if (words := PRIVATE.findall(line.text))] == []


def test_a_line_about_a_job_names_its_step_its_id_and_the_attempt_in_one_way() -> None:
    assert [line for line in lines() if line.owner == "logger" and OF_A_JOB.search(line.text)] == []


def test_every_duty_has_a_name_for_people() -> None:
    duties = (PACKAGE / "runtime/caretaker/duties.py").read_text()
    names = set(re.findall(r"_Duty\([^\n]*?self\.(\w+)[,)]", duties)) | set(
        re.findall(r"_try\(self\.(\w+)\)", duties)
    )
    assert len(names) > 5
    assert names <= CALLED.keys()
    assert [text for text in CALLED.values() if PRIVATE.search(text)] == []


def test_tracebacks_of_its_own_are_only_for_debugging() -> None:
    shown = [line for line in lines() if line.level == "exception"]
    assert {line.place.rpartition(":")[0] for line in shown} == {
        "agentq.runtime.bridge.asyncio_pool",  # what Celery's callbacks raise, and nothing else logs
        "agentq.runtime.entry.dead_letters",  # what the application's own handlers raise
    }
