"""``start()`` in Django's transactions, which really commit."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from celery import group
from django.db import IntegrityError, connection, transaction
from django.test import TransactionTestCase
from reports.models import Report

import agentq
from agentq.contrib.django import project
from agentq.exceptions import KeyConflict, NotFound
from agentq.operations import tenants
from agentq.runtime.entry import revokes
from tests.contrib.django.suite.canvases import dispatches, double, largest, rolled_back, started
from tests.support.fake_worker import FakeWorker


class BacklogTest(TransactionTestCase):
    """A view whose start is over a cap, with the middleware of the example project."""

    def setUp(self) -> None:
        tenants.set_max_open(project.current().ledger, "default", 1)
        assert self.client.post("/reports/", {"topic": "kept"}).status_code == 202

    def require_refused(self, answer: Any) -> None:
        assert (answer.status_code, answer["Content-Type"]) == (429, "application/problem+json")
        assert (answer["Retry-After"], answer["Cache-Control"]) == ("1", "no-store")
        assert "tenant 'default' has 1 open workflows" in answer.json()["detail"]
        assert Report.objects.count() == 1

    def test_a_request_over_the_cap_is_answered_with_429_and_leaves_nothing(self) -> None:
        self.require_refused(self.client.post("/reports/", {"topic": "refused"}))

    def test_it_is_so_under_asgi(self) -> None:
        self.require_refused(async_to_sync(self.async_client.post)("/reports/", {"topic": "refused"}))


class AtomicTest(TransactionTestCase):
    """Workflow and business rows are there together, or not at all."""

    def test_a_commit_writes_both_and_then_publishes(self) -> None:
        with dispatches() as dispatched:
            with transaction.atomic():
                report = Report.objects.create(topic="kept")
                workflow = agentq.start(double.s(1), key=f"report-{report.pk}")
                assert workflow.status == "running", "the transaction sees its own workflow"
                assert dispatched == []
            assert len(dispatched) == 1
        assert (Report.objects.count(), started()) == (1, 1)

    def test_a_rollback_writes_neither_and_publishes_nothing(self) -> None:
        with dispatches() as dispatched, rolled_back():
            Report.objects.create(topic="lost")
            workflow = agentq.start(double.s(1))
        assert (Report.objects.count(), started(), dispatched) == (0, 0, [])
        with pytest.raises(NotFound):
            _ = workflow.status

    def test_a_savepoint_that_is_rolled_back_takes_its_workflow_with_it(self) -> None:
        with dispatches() as dispatched, transaction.atomic():
            agentq.start(double.s(1), key="outer")
            with rolled_back():
                agentq.start(double.s(1), key="inner")
            with transaction.atomic():
                agentq.start(double.s(1), key="second")
            assert dispatched == []
        assert len(dispatched) == 2
        assert started() == 2

    def test_a_start_outside_a_transaction_is_committed_and_published_at_once(self) -> None:
        with dispatches() as dispatched:
            agentq.start(double.s(1))
            assert len(dispatched) == 1
        assert seen_by_another_connection() == 1

    def test_what_a_revoke_makes_ready_is_published_after_the_commit(self) -> None:
        fake = FakeWorker(project.current().ledger)
        done, revoked = fake.start(group(double.s(1), double.s(2)) | largest.s().set(needs="any")).dispatches
        fake.succeed(fake.take(done), 2)
        with dispatches() as dispatched, transaction.atomic():
            revokes.cancel_revoked(project.current(), {revoked.job_id: True})
            assert dispatched == []
        assert dispatched == [largest.name]

    def test_other_connections_see_it_after_the_commit(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("a SQLite database in memory has one connection")
        with dispatches(), transaction.atomic():
            agentq.start(double.s(1))
            assert (started(), seen_by_another_connection()) == (1, 0)

    def test_a_refused_start_leaves_the_transaction_usable(self) -> None:
        agentq.start(double.s(1), key="taken")
        with transaction.atomic():
            with pytest.raises(KeyConflict):
                agentq.start(double.s(2), key="taken")
            Report.objects.create(topic="after the refusal")
        assert (Report.objects.count(), started()) == (1, 1)

    def test_a_transaction_that_is_broken_already_says_so(self) -> None:
        report = Report.objects.create(topic="first")
        with rolled_back():
            with pytest.raises(IntegrityError):
                Report.objects.create(pk=report.pk, topic="the same key")
            with pytest.raises(transaction.TransactionManagementError):
                agentq.start(double.s(1))
        assert started() == 0

    def test_a_cancel_is_rolled_back_too(self) -> None:
        workflow = agentq.start(double.s(1))
        with rolled_back():
            assert workflow.cancel("changed my mind")
            assert workflow.status == "cancelled"
        assert workflow.status == "running"

    def test_the_same_key_in_one_transaction_is_the_same_workflow(self) -> None:
        with dispatches(), transaction.atomic():
            first, second = (agentq.start(double.s(1), key="once") for _ in range(2))
        assert (first.id, first.is_new, second.is_new) == (second.id, True, False)

    def test_no_second_connection_is_opened(self) -> None:
        with transaction.atomic():
            agentq.start(double.s(1)).cancel()
        agentq.start(double.s(1)).jobs()
        assert project.current().ledger._engines == {}


class WorkerTest(TransactionTestCase):
    """A worker's own connections, and steps that start workflows."""

    def test_a_worker_shares_djangos_connection_only_in_transactions(self) -> None:
        if connection.vendor == "sqlite":
            self.skipTest("a SQLite database in memory has one connection")
        agentq_ = project.current()
        self.addCleanup(agentq_.ledger.close)
        with dispatches() as dispatched, patch.object(agentq_, "caretaker", object()):
            with rolled_back():
                agentq.start(double.s(1))
            agentq.start(double.s(1))
            assert (started(), len(dispatched)) == (1, 1)
            connection.close()
            agentq.start(double.s(1))
            assert connection.connection is None
            with transaction.atomic():
                agentq.start(double.s(1))
                assert (seen_by_another_connection(), len(dispatched)) == (2, 2)
        assert len(dispatched) == 3


class DjangoTaskTest(TransactionTestCase):
    """Steps keep the task base that Celery gives to Django projects."""

    def test_delay_on_commit_starts_after_the_commit(self) -> None:
        with dispatches() as dispatched, transaction.atomic():
            double.delay_on_commit(1)
            double.apply_async_on_commit((2,))
            assert (started(), dispatched) == (0, [])
        assert (started(), len(dispatched)) == (2, 2)

    def test_delay_on_commit_starts_nothing_after_a_rollback(self) -> None:
        with rolled_back():
            double.delay_on_commit(1)
        assert started() == 0

    def test_delay_joins_the_transaction(self) -> None:
        with dispatches() as dispatched, transaction.atomic():
            double.delay(1)
            assert (started(), dispatched) == (1, [])
        assert len(dispatched) == 1


def seen_by_another_connection() -> int:
    """Return how many workflows another thread's connection sees."""
    found: list[int] = []

    def look() -> None:
        found.append(started())
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]
