"""The class of a worker's consumer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.consumer import Consumer

from agentq.runtime.entry.consumer import ConsumerStep, Intake


class Own(Consumer):
    """A consumer of the application's own."""


@pytest.mark.parametrize("chosen", ["celery.worker.consumer:Consumer", f"{__name__}:Own", Own])
def test_a_worker_makes_the_consumer_that_was_chosen_with_agentqs_methods(chosen: Any) -> None:
    worker = SimpleNamespace(consumer_cls=chosen)
    ConsumerStep(worker)
    assert issubclass(worker.consumer_cls, Intake)
    assert issubclass(worker.consumer_cls, Consumer if isinstance(chosen, str) and "celery" in chosen else Own)
    assert worker.consumer_cls.on_decode_error is Intake.on_decode_error
