"""Every page and action of the admin, walked as a browser does, by who may and who may not."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

import agentq
from agentq.contrib.django import project
from agentq.contrib.django.models import DeadLetter, Job, Workflow
from agentq.operations import dead_letters, workflows
from tests.contrib.django.suite.canvases import double
from tests.operations.letters import refuse_message
from tests.support.fake_worker import FakeWorker

MODELS: dict[str, Any] = {"workflow": Workflow, "job": Job, "deadletter": DeadLetter}
DECISIONS = [(noun, action) for noun, model in MODELS.items() for action in site.get_model_admin(model).actions]
UNDECIDED = ("running", "queued", "open")
TOO_MANY = 120
"""More than two pages of a list, and more than one action decides about."""


class Walk(TestCase):
    """A ledger with something of every kind, and a person to look at it."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.olga = User.objects.create_superuser("olga")
        ledger = project.current().ledger
        fake = FakeWorker(ledger)
        for _ in range(3):  # one that is resolved, one that is cancelled, one that stays
            fake.fail(fake.begin(double.s(1) | double.s()))
        resolved, cancelled = DeadLetter.objects.order_by("id")[:2]
        dead_letters.resolve(ledger, str(resolved.pk), result=7, unchecked=True, actor="ann", reason="by head")
        dead_letters.cancel(ledger, str(cancelled.pk), actor="ann", reason="too late")
        refuse_message(fake)
        fake.run(*fake.start(double.s(2)).dispatches)
        stopped = fake.start(double.s(3)).workflow_id
        workflows.cancel(ledger, str(stopped), actor="ann", reason="<b>wrong</b>\nfolder")
        agentq.start(double.s(4), key="ключ-✓ <i>")

    def setUp(self) -> None:
        self.client.force_login(self.olga)

    def get(self, page: str, query: Any = None, *, status: int = 200) -> str:
        answer = self.client.get(f"/admin/agentq/{page}", query)
        assert answer.status_code == status, f"{page} {query}: {answer.status_code}"
        return answer.content.decode()

    def act(self, noun: str, action: str, *rows: Any, status: int = 200, query: str = "", **fields: Any) -> str:
        data = {"action": action, "_selected_action": [str(row) for row in rows], **fields}
        if "confirmed" not in fields:
            data["index"] = "0"  # the list's form has it, the question's has not
        answer = self.client.post(f"/admin/agentq/{noun}/{query}", data, follow=True)
        assert answer.status_code == status, f"{noun} {action}: {answer.status_code}"
        return answer.content.decode()

    def undecided(self, noun: str) -> Any:
        """Something that can be decided about; a job's letter, for a replay."""
        found = MODELS[noun].objects.filter(status__in=UNDECIDED)
        return (found.filter(kind="job") if noun == "deadletter" else found).first()

    def status(self, noun: str, row: Any) -> str:
        return str(MODELS[noun].objects.get(pk=row.pk).status)


class EveryPage(Walk):
    """Looking."""

    def test_every_link_search_and_row_answers(self) -> None:
        for debug in (True, False):
            with self.settings(DEBUG=debug):
                self.get("")
                for noun in MODELS:
                    self.walk_list(noun)
                    for row in MODELS[noun].objects.all():
                        self.walk_row(noun, row.pk)

    def walk_list(self, noun: str) -> None:
        page = self.get(f"{noun}/")
        links = {link.replace("&amp;", "&") for link in re.findall(r'href="(\?[^"]*)"', page)}
        assert any("o=" in link for link in links), "orders"
        assert any("status__exact" in link for link in links), "filters"
        for link in links:
            self.get(f"{noun}/{link}")
        for term in ("x", "ключ-✓ <i>", "'; --", "a\0b", "%", "0" * 32, "z" * 5_000):
            self.get(f"{noun}/", {"q": term})
        assert "delete_selected" not in page
        self.get(f"{noun}/add/", status=403)
        for unknown in ("019a0000-0000-7000-8000-000000000000", "xyz"):
            self.get(f"{noun}/{unknown}/change/", status=302)

    def walk_row(self, noun: str, key: Any) -> None:
        page = self.get(f"{noun}/{key}/change/")
        for button in ('name="_save"', "deletelink", 'name="_addanother"', 'name="_continue"'):
            assert button not in page
        self.get(f"{noun}/{key}/history/")
        self.get(f"{noun}/{key}/delete/", status=403)
        for verb, fields in (("delete", {"post": "yes"}), ("change", {"status": "failed"})):
            answer = self.client.post(f"/admin/agentq/{noun}/{key}/{verb}/", fields)
            assert answer.status_code == 403, verb

    def test_lists_show_the_errors_and_a_page_the_giver_of_a_result(self) -> None:
        page = self.get("workflow/")
        assert "ValueError: no such thing" in page
        assert "&lt;b&gt;wrong&lt;/b&gt;" in page, "the text of a reason is text"
        resolved = DeadLetter.objects.get(status="resolved")
        job = self.get(f"job/{resolved.job_id}/change/")
        assert re.search(r"by ann, \d{4}-.* UTC: by head", job)
        attempts = Job.objects.get(pk=resolved.job_id).record.attempts_summary
        for page in (job, self.get("job/"), self.get(f"workflow/{resolved.workflow_id}/change/")):
            assert attempts in page

    def test_lists_take_no_statement_more_for_more_rows(self) -> None:
        counted = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as seen:
                for noun in MODELS:
                    self.get(f"{noun}/")
            counted.append(len(seen))
            fake = FakeWorker(project.current().ledger)
            for _ in range(10):
                fake.fail(fake.begin(double.s(1)))
        assert counted[0] == counted[1]

    def test_a_list_of_more_than_a_page_has_pages(self) -> None:
        project.current().start_many([double.s(n) for n in range(TOO_MANY)])
        for noun in ("workflow", "job"):
            pages = [self.get(f"{noun}/", {"p": number}) for number in (1, 2, 3)]
            ids = [set(re.findall(rf"/{noun}/([0-9a-f-]{{36}})/change", page)) for page in pages]
            assert [len(found) for found in ids[:2]] == [50, 50]
            assert len(set.union(*ids)) == MODELS[noun].objects.exclude(pk=None).count() - self.joins(noun)
            self.get(f"{noun}/", {"p": 99}, status=302)

    def joins(self, noun: str) -> int:
        return Job.objects.filter(kind__in=("join", "each")).count() if noun == "job" else 0


class EveryAction(Walk):
    """Deciding."""

    def test_a_question_comes_before_every_decision_and_changes_nothing(self) -> None:
        for debug in (True, False):
            with self.settings(DEBUG=debug):
                for noun, action in DECISIONS:
                    row = self.undecided(noun)
                    asked = self.act(noun, action, row.pk)
                    assert 'name="confirmed"' in asked
                    assert str(row.pk) in asked
                    assert self.status(noun, row) == row.status

    def test_every_decision_is_done_when_it_is_confirmed_and_says_by_whom(self) -> None:
        for noun, action, after in (
            ("workflow", "cancel", "cancelled"),
            ("deadletter", "replay", "replayed"),
            ("deadletter", "cancel", "cancelled"),
        ):
            row = self.undecided(noun) or DeadLetter.objects.get(status="open")
            assert "1 of 1 done" in self.act(noun, action, row.pk, confirmed="Yes", reason="ключ ✓")
            assert self.status(noun, row) == after
            if noun == "workflow":
                assert "ключ ✓" in self.get(f"workflow/{row.pk}/change/")
        job = Job.objects.filter(status__in=("queued", "scheduled")).first()
        assert "1 of 1 done" in self.act("job", "cancel", job.pk, confirmed="Yes")
        assert self.status("job", job) == "cancelled"

    def test_an_empty_selection_and_no_action_are_errors(self) -> None:
        for noun, action in DECISIONS:
            assert "Items must be selected" in self.act(noun, action)
            assert "No action selected" in self.act(noun, "", self.undecided(noun).pk)
            assert self.act(noun, "delete_selected", self.undecided(noun).pk, post="yes")
            assert self.undecided(noun) is not None

    def test_all_of_a_list_are_decided_across_its_pages(self) -> None:
        project.current().start_many([double.s(n) for n in range(70)])
        running = Workflow.objects.filter(status="running")
        across = {"select_across": "1", "query": "?status__exact=running"}
        asked = self.act("workflow", "cancel", running[0].pk, **across)
        rows = re.findall(r'name="_selected_action" value="([^"]+)"', asked)
        assert len(rows) == running.count() > 50
        assert f"{len(rows)} of {len(rows)} done" in self.act("workflow", "cancel", *rows, confirmed="Yes")
        assert not running.exists()

    def test_more_than_one_action_decides_about_are_refused_with_what_to_do(self) -> None:
        project.current().start_many([double.s(n) for n in range(TOO_MANY)])
        row = Workflow.objects.filter(status="running")[0]
        page = self.act("workflow", "cancel", row.pk, select_across="1")
        assert "At most 100 at once, please; for more: manage.py agentq workflows cancel --all" in page
        assert self.status("workflow", row) == "running"


class WhoMay(Walk):
    """Permissions."""

    def login(self, *codenames: str, is_staff: bool = True) -> None:
        name = f"user-{User.objects.count()}"
        user = User.objects.create_user(name, is_staff=is_staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        self.client.force_login(user)

    def test_anonymous_users_and_others_than_staff_are_asked_to_log_in(self) -> None:
        for login in (self.client.logout, lambda: self.login(is_staff=False)):
            login()
            for noun in MODELS:
                for page in ("", f"{noun}/", f"{noun}/{MODELS[noun].objects.first().pk}/change/"):
                    answer = self.client.get(f"/admin/agentq/{page}")
                    assert answer.status_code == 302
                    assert answer.url.startswith("/admin/login/")

    def test_staff_without_a_permission_sees_nothing(self) -> None:
        self.login()
        for noun in MODELS:
            self.get(f"{noun}/", status=403)
            row = self.undecided(noun)
            self.get(f"{noun}/{row.pk}/change/", status=403)
            self.act(noun, "cancel", row.pk, confirmed="Yes", status=403)
            assert self.status(noun, row) == row.status

    def test_a_viewer_has_no_actions_and_posted_ones_are_refused(self) -> None:
        self.login(*(f"view_{noun}" for noun in MODELS))
        for noun in MODELS:
            page = self.get(f"{noun}/")
            assert 'name="action"' not in page
            self.get(f"{noun}/{self.undecided(noun).pk}/change/")
        for noun, action in DECISIONS:
            row = self.undecided(noun)
            for confirmed in ({}, {"confirmed": "Yes"}):
                page = self.act(noun, action, row.pk, **confirmed)
                assert 'name="confirmed"' not in page
                assert self.status(noun, row) == row.status

    def test_a_permission_is_for_one_decision(self) -> None:
        self.login("view_deadletter", "replay_deadletter")
        page = self.get("deadletter/")
        assert "Replay selected dead letters" in page
        assert "Cancel selected dead letters" not in page
        row = self.undecided("deadletter")
        self.act("deadletter", "cancel", row.pk, confirmed="Yes")
        assert self.status("deadletter", row) == "open"
        self.act("deadletter", "replay", row.pk, confirmed="Yes")
        assert self.status("deadletter", row) == "replayed"
