"""Every canvas of the table gives on agentq what it gives on bare Celery; what differs is listed here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentq import AgentQ
from agentq.exceptions import CanvasError, InvalidArguments, StepFailed
from tests.support import Worker, client, copied_ledger, redis_server, require_sound

from .bare import Outcome, bare_celery
from .cases import CASES, Case
from .steps import STEPS

_BARE_KIND = {"finishes": "value", "odd": "value", "refused": "refused", "raises": "raised", "hangs": "unfinished"}

_NO_STEP = "a canvas without any step starts nothing, so it is refused"
_MAP = "one job that runs many calls has no place for their policies; each() gives every call its own"
_CHECKED = "arguments are checked at the start, also those of later steps"

REFUSED = {
    "empty-group": _NO_STEP,
    "empty-group-in-group": _NO_STEP,
    "empty-group-in-chain": _NO_STEP,
    "empty-chain": _NO_STEP,
    "empty-groups-only": _NO_STEP,
    "chord-without-body": "a chord needs a body; without one it is a group",
    "chord-clone-prepends-to-header": "a chord's own arguments would reach only some of its steps",
    "map": _MAP,
    "map-then-task": _MAP,
    "map-takes-nothing-from-upstream": _MAP,
    "map-in-group": _MAP,
    "map-json": _MAP,
    "starmap": _MAP,
    "starmap-in-header": _MAP,
    "chunks": _MAP,
    "chunks-as-group-then-task": _MAP,
    "chunks-then-task": _MAP,
    "chunks-after-task": _MAP,
    "arguments-wrong-at-start": _CHECKED,
    "arguments-wrong-in-header": _CHECKED,
    "arguments-wrong-later": _CHECKED,
    "arguments-wrong-in-body": _CHECKED,
    "arguments-given-twice": _CHECKED,
    "arguments-wrong-in-last-group": _CHECKED,
}
"""Canvases that agentq refuses on purpose at the start, with the reason; Celery runs or fails some of them."""

_IN_ORDER = {"args": [["a", "b", "c", "d"]], "kwargs": {}}

AS_DOCUMENTED: dict[str, Any] = {
    "nest-group-in-header": _IN_ORDER,
    "nest-group-in-fan-in": _IN_ORDER,
    "nest-group-in-last-group": ["up-a", "up-b", "up-c", "up-d"],
    "nest-group-in-body-group": ["(a+b)-a", "(a+b)-b", "(a+b)-c", "(a+b)-d"],
    "group-group-group": ["((a+b)-c+(a+b)-d)-e", "((a+b)-c+(a+b)-d)-f"],
    "chord-with-group-body-then-chain": "((a+b)-c+(a+b)-d)-e-f",
}
"""Cases where bare Celery's result is a race or against its manual: members in the written order, and fan-in."""


@pytest.fixture(scope="module")
def on_bare_celery() -> dict[str, Outcome]:
    with bare_celery() as bare:
        return {case.name: bare.run(case.build, timeout=3 if case.bare == "hangs" else 20) for case in CASES}


@pytest.fixture(scope="module")
def on_agentq(ledger_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    folder = tmp_path_factory.mktemp("parity")
    with (
        copied_ledger(ledger_template, folder) as url,
        redis_server() as broker,
        Worker(broker, url, module="tests.canvas.worker"),
        client(broker, url) as agentq,
    ):
        started = {case.name: _started(agentq, case) for case in CASES}
        yield {name: _outcome(workflow) for name, workflow in started.items()}
        require_sound(url)


def _started(agentq: AgentQ, case: Case) -> Any:
    try:
        return agentq.start(case.build(STEPS))
    except (CanvasError, InvalidArguments) as error:
        return Outcome("refused", error=f"{type(error).__name__}: {error}")


def _outcome(workflow: Any) -> Outcome:
    if isinstance(workflow, Outcome):
        return workflow
    try:
        return Outcome("value", json.loads(json.dumps(workflow.result(timeout=30))))
    except StepFailed as error:
        return Outcome("raised", error=f"{error.error_class}: {error.error_message}")


def _cases(wanted: Callable[[Case], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES if wanted(case)], ids=lambda case: case.name)


def _is_same(case: Case) -> bool:
    return case.name not in REFUSED and case.name not in AS_DOCUMENTED


@_cases(lambda case: True)
def test_bare_celery_still_ends_it_as_the_table_says(case: Case, on_bare_celery: dict[str, Outcome]) -> None:
    assert on_bare_celery[case.name].kind == _BARE_KIND[case.bare], on_bare_celery[case.name]


@_cases(_is_same)
def test_agentq_ends_it_as_bare_celery_does(
    case: Case, on_bare_celery: dict[str, Outcome], on_agentq: dict[str, Outcome]
) -> None:
    bare, ours = on_bare_celery[case.name], on_agentq[case.name]
    assert ours.kind == bare.kind, ours
    assert ours.value == bare.value
    assert ours.kind != "raised" or ours.error.startswith("ValueError: fail was called with")


@_cases(lambda case: case.name in AS_DOCUMENTED)
def test_agentq_does_what_is_documented(case: Case, on_agentq: dict[str, Outcome]) -> None:
    assert on_agentq[case.name] == Outcome("value", AS_DOCUMENTED[case.name])


@_cases(lambda case: case.name in REFUSED)
def test_agentq_refuses_it_at_the_start(case: Case, on_agentq: dict[str, Outcome]) -> None:
    assert on_agentq[case.name].kind == "refused", f"{on_agentq[case.name]}; {REFUSED[case.name]}"


def test_the_lists_name_cases_and_every_odd_one() -> None:
    listed = {*REFUSED, *AS_DOCUMENTED}
    assert listed <= {case.name for case in CASES}
    assert {case.name for case in CASES if case.bare == "odd"} <= listed
