"""Every Celery app has every step, whichever was there first."""

from __future__ import annotations

import gc
from uuid import uuid4
from weakref import ref

import pytest
from celery import Celery

from agentq import Step, step
from agentq.runtime.dispatch.message import CARRIER, DEAD_LETTER


def new_app() -> Celery:
    return Celery("bound", broker="memory://", set_as_current=False)


def new_step() -> Step[[], int]:
    @step(name=f"bound.{uuid4()}")
    def answer() -> int:
        return 42

    return answer


@pytest.mark.parametrize("is_final", [False, True])
def test_an_app_gets_the_step_that_is_registered_after_it(is_final: bool) -> None:
    app = new_app()
    if is_final:
        app.finalize()
    made = new_step()
    assert app.tasks[made.name].app is app
    assert app.tasks[made.name].run() == 42


def test_an_app_gets_the_steps_that_were_registered_before_it() -> None:
    made = new_step()
    one, other = new_app(), new_app()
    assert one.tasks[made.name].app is one
    assert other.tasks[made.name].app is other
    assert one.tasks[CARRIER].app is one.tasks[DEAD_LETTER].app is one


def test_a_step_that_is_registered_while_an_app_becomes_final_is_bound_to_it() -> None:
    app, made = new_app(), []
    app.on_after_finalize.connect(lambda **_: made.append(new_step()), weak=False)
    app.finalize()
    assert app.tasks[made[0].name].app is app


def test_an_app_that_nobody_needs_is_not_kept_for_its_steps() -> None:
    app = new_app()
    new_step()
    app.finalize()
    gone = ref(app)
    app.close()
    del app
    gc.collect()
    assert gone() is None
