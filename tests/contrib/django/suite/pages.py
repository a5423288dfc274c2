"""The admin's pages, as the browser gets them."""

from __future__ import annotations

from typing import Any

from celery import group
from django.contrib.auth.models import Permission, User
from django.test import TestCase

import agentq
from agentq import step
from agentq.contrib.django import project
from agentq.contrib.django.models import DeadLetter
from agentq.ledger.caretaking import expiry
from tests.contrib.django.suite.canvases import double
from tests.support.fake_worker import FakeWorker


@step
def sign(number: int, api_key: str) -> int:
    """A step with a secret."""
    return number


@step
def collect_results(numbers: list[int]) -> list[int]:
    """A step after a fan-in."""
    return numbers


class PagesTest(TestCase):
    """The pages that a superuser sees, and their actions."""

    def setUp(self) -> None:
        self.user = User.objects.create_superuser("olga")
        self.client.force_login(self.user)

    def test_lists_and_pages_show_what_is_there(self) -> None:
        workflow = agentq.start(double.s(21) | double.s(), key="shown")
        (first, _) = workflow.jobs()
        self.shows("workflow/", workflow.id, "shown", "running")
        self.shows("job/", str(first.id), "queued")
        self.shows(f"workflow/{workflow.id}/change/", str(first.id), "waiting", "1 job(s) before it")
        self.shows(f"job/{first.id}/change/", "21", "a free worker on queue")

    def test_secrets_are_masked(self) -> None:
        (job,) = agentq.start(sign.s(1, api_key="sk-12345678")).jobs()
        for page in ("job/", f"job/{job.id}/change/"):
            assert "sk-12345678" not in self.get(page)

    def test_a_search_finds_whole_values(self) -> None:
        wanted, other = (agentq.start(double.s(number), key=f"key-{number}") for number in range(2))
        for term in (wanted.id, "key-0"):
            page = self.get("workflow/", q=term)
            assert wanted.id in page
            assert other.id not in page
        (job,) = wanted.jobs()
        self.shows("job/?q=" + wanted.id, str(job.id))

    def test_the_pages_change_no_row(self) -> None:
        workflow = agentq.start(double.s(1))
        for page in ("workflow/add/", f"workflow/{workflow.id}/delete/"):
            assert self.client.get(f"/admin/agentq/{page}").status_code == 403
        page = self.get(f"workflow/{workflow.id}/change/")
        assert 'name="_save"' not in page

    def test_a_cancel_is_asked_about_then_done_and_noted(self) -> None:
        workflow = agentq.start(double.s(1))
        assert "Cancel 1 of" in self.post("workflow/", "cancel", workflow.id)
        assert workflow.status == "running"
        self.shows_after("workflow/", "cancel", workflow.id, "1 of 1 done", reason="not wanted")
        assert workflow.status == "cancelled"
        self.shows(f"workflow/{workflow.id}/change/", "olga", "not wanted")
        self.shows_after("workflow/", "cancel", workflow.id, "had ended before")

    def test_a_job_can_be_cancelled(self) -> None:
        workflow = agentq.start(double.s(1))
        (job,) = workflow.jobs()
        self.shows_after("job/", "cancel", str(job.id), "1 of 1 done")
        assert workflow.status == "cancelled"

    def test_a_dead_letter_is_replayed_once(self) -> None:
        letter = dead_letter()
        self.shows("deadletter/", str(letter.pk), "open")
        self.shows(f"deadletter/{letter.pk}/change/", "no such thing")
        self.shows_after("deadletter/", "replay", str(letter.pk), "1 of 1 done", reason="fixed")
        letter = DeadLetter.objects.get(pk=letter.pk)
        assert (letter.status, letter.workflow.status) == ("replayed", "running")
        self.shows(f"deadletter/{letter.pk}/change/", "olga", "fixed")
        self.shows_after("deadletter/", "replay", str(letter.pk), "must be open")

    def test_a_dead_letter_is_cancelled(self) -> None:
        letter = dead_letter()
        self.shows_after("deadletter/", "cancel", str(letter.pk), "1 of 1 done")
        assert DeadLetter.objects.get(pk=letter.pk).status == "cancelled"

    def test_a_fan_in_with_missing_members_is_decided(self) -> None:
        for action, status in (("replay", "running"), ("go_on", "running"), ("cancel", "failed")):
            letter = lacking_fan_in()
            self.shows("deadletter/", str(letter.pk), "missing_members")
            self.shows(f"deadletter/{letter.pk}/change/", "1 of its 2 members are missing")
            self.shows_after("deadletter/", action, str(letter.pk), "1 of 1 done", reason="as we said")
            letter = DeadLetter.objects.get(pk=letter.pk)
            assert (letter.status != "open", letter.workflow.status) == (True, status), action
            self.shows(f"workflow/{letter.workflow_id}/change/", "olga", "as we said")
        self.shows_after("deadletter/", "go_on", str(dead_letter().pk), "is a step: give the result")

    def test_every_action_asks_before_it_is_done(self) -> None:
        letter = dead_letter()
        rows = {
            "workflow/": (letter.workflow_id, ["cancel"]),
            "job/": (letter.job_id, ["cancel"]),
            "deadletter/": (letter.pk, ["replay", "go_on", "cancel"]),
        }
        for debug in (False, True):
            with self.settings(DEBUG=debug):
                for page, (row, actions) in rows.items():
                    for action in actions:
                        assert f"<li>{row}:" in self.post(page, action, str(row))

    def test_every_page_answers_with_every_search_filter_and_order(self) -> None:
        letter = dead_letter()
        ids = {"workflow": letter.workflow_id, "job": letter.job_id, "deadletter": letter.pk}
        self.get("")
        for noun, row in ids.items():
            self.get(f"{noun}/{row}/change/")
            searches = [{"q": term} for term in (str(row), "no such thing", "a\0b")]
            for query in (*searches, {"status__exact": "failed"}, {"p": "1"}, {"o": "3.1"}):
                self.get(f"{noun}/", **query)

    def test_a_viewer_cannot_decide(self) -> None:
        workflow = agentq.start(double.s(1))
        viewer = User.objects.create_user("vera", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_workflow"))
        self.client.force_login(viewer)
        self.shows("workflow/", workflow.id)
        self.post("workflow/", "cancel", workflow.id, confirmed="Yes")
        assert workflow.status == "running"
        viewer.user_permissions.add(Permission.objects.get(codename="cancel_workflow"))
        self.post("workflow/", "cancel", workflow.id, confirmed="Yes")
        assert workflow.status == "cancelled"

    def test_the_ledger_is_the_projects_database(self) -> None:
        agentq.start(double.s(1))
        project.current().ensure_ledger()
        with self.assertNumQueries(0):
            project.current().ensure_ledger()

    def get(self, page: str, **query: str) -> str:
        answer = self.client.get(f"/admin/agentq/{page}", query)
        assert answer.status_code == 200, answer
        return str(answer.content.decode())

    def shows(self, page: str, *texts: str) -> None:
        found = self.get(page)
        for text in texts:
            assert text in found, f"{text!r} is not on {page}"

    def post(self, page: str, action: str, row: str, **fields: Any) -> str:
        data = {"action": action, "_selected_action": row, **fields}
        answer = self.client.post(f"/admin/agentq/{page}", data, follow=True)
        assert answer.status_code == 200
        return str(answer.content.decode())

    def shows_after(self, page: str, action: str, row: str, text: str, **fields: Any) -> None:
        assert text in self.post(page, action, row, confirmed="Yes", **fields)


def dead_letter() -> DeadLetter:
    """Return the dead letter of a job that failed for good."""
    fake = FakeWorker(project.current().ledger)
    claimed = fake.begin(double.s(1))
    fake.fail(claimed)
    return DeadLetter.objects.get(job_id=claimed.job_id)


def lacking_fan_in() -> DeadLetter:
    """Return the dead letter of a fan-in of two members, of which one was late."""
    fake = FakeWorker(project.current().ledger)
    claimed = fake.take(
        fake.start(group(double.s(1), double.s(2)) | collect_results.s().set(needs=2, within=60)).dispatches[0]
    )
    fake.succeed(claimed, 2)
    join = fake.job(claimed.job_id).join_id
    fake.age(join, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    return DeadLetter.objects.get(job_id=join)
