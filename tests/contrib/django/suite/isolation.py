"""Django's ``TestCase`` and ``captureOnCommitCallbacks``."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.test import TestCase

import agentq
from tests.contrib.django.suite.canvases import dispatches, double, double_alone, started


class IsolationTest(TestCase):
    """The rows of a test are gone with the test."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.shared = agentq.start(double.s(1), key="shared")

    def test_one(self) -> None:
        self.look()

    def test_another(self) -> None:
        self.look()

    def look(self) -> None:
        assert started() == 1, "only what setUpTestData started"
        assert self.shared.status == "running"
        agentq.start(double.s(2), key="own")
        assert started() == 2

    def test_the_dispatch_is_a_callback_of_the_commit(self) -> None:
        with dispatches() as dispatched, self.captureOnCommitCallbacks() as callbacks:
            agentq.start(double.s(1))
        assert (len(callbacks), dispatched) == (1, [])
        with dispatches() as dispatched, self.captureOnCommitCallbacks(execute=True):
            double.delay_on_commit(1)
            assert dispatched == []
        assert len(dispatched) == 1

    def test_the_admission_of_a_job_with_a_limit_is_a_callback_of_the_commit(self) -> None:
        with dispatches() as dispatched, self.captureOnCommitCallbacks(execute=True) as callbacks:
            agentq.start(double_alone.s(1))
            assert dispatched == []
        # The second one publishes what the first one admits.
        assert (len(callbacks), dispatched) == (2, [double_alone.name])

    async def test_an_async_test_sees_what_it_starts(self) -> None:
        workflow = await agentq.astart(double.s(1))
        assert await workflow.astatus() == "running"
        assert await sync_to_async(started)() == 2
