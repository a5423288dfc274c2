"""The admin's pages of limits: what is there, and a pause by those who may."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

import agentq
from agentq import Concurrency, Cooldown, Rate, step
from agentq.contrib.django import project
from agentq.ledger.limits import enter_unawaited, fill
from agentq.operations import limits

NAME = "django-limit:small"


@step(
    limits=[
        Concurrency("django-limit", key="model", limit=2),
        Rate("django-limit", key="model", limit=500, per=60, burst=5),
        Cooldown("django-limit", key="model"),
    ]
)
def ask(number: int, model: str = "small") -> int:
    """A step with a limit."""
    return number


class LimitPages(TestCase):
    """Limits with jobs that hold and await them, and a person to look at them."""

    def setUp(self) -> None:
        self.client.force_login(User.objects.create_superuser("olga"))
        self.workflows = agentq.start_many([ask.s(number) for number in range(5)])
        self.ledger = project.current().ledger
        self.admit()

    def admit(self) -> None:
        """Admit jobs as a caretaker: a test's transaction has no commit, after which their start would do it."""
        enter_unawaited(self.ledger, project.current().meters_of)
        fill(self.ledger)

    def test_the_list_shows_what_each_limit_lets_through_and_how_many_wait(self) -> None:
        agentq.start(ask.s(1, "large"))
        self.admit()
        small, large = self.rows()
        assert small == ["django-limit", "small", "2 of 2", "500/60", "-", "open", "3"]
        assert large == ["django-limit", "large", "1 of 2", "500/60", "-", "open", "0"]

    def test_a_limit_that_cools_says_until_when_and_why(self) -> None:
        limits.cool(self.ledger, NAME, 600, actor="ann", reason="the provider asks for less")
        ((*_, status, _),) = self.rows()
        assert re.fullmatch(r"cools until \S+ \S+ UTC \(ann: the provider asks for less\)", status)
        limits.cool(self.ledger, NAME, 0, actor="ann", reason="it is up again")
        ((*_, status, _),) = self.rows()
        assert status == "opens by degrees: 2 at once"

    def test_the_page_of_a_limit_has_its_line_its_holders_and_its_changes(self) -> None:
        limits.change(self.ledger, NAME, 1, actor="ann", reason="less quota")
        page = self.get(f"limit/{NAME}/change/")
        first = self.workflows[0].jobs()[0].id
        for text in ("2 of 1", "default", f"/job/{first}/change/", "ann", "less quota"):
            assert text in page, text
        assert 'name="_save"' not in page

    def test_the_page_of_a_blocked_job_says_what_it_waits_for(self) -> None:
        (job,) = self.workflows[3].jobs()
        assert f"slots of {NAME}, 2 of 2, 2nd of tenant default" in self.get(f"job/{job.id}/change/")
        limits.pause(self.ledger, NAME, actor="ann", reason="the provider is down")
        assert f"slots of {NAME}, paused by ann: the provider is down" in self.get(f"job/{job.id}/change/")

    def test_a_pause_is_asked_about_needs_a_reason_and_ends_with_a_resume(self) -> None:
        assert f"<li>{NAME}:" in self.post("pause")
        assert limits.get(self.ledger, NAME).slots == 2
        assert "reason is needed" in self.post("pause", confirmed="Yes")
        assert "1 of 1 done" in self.post("pause", confirmed="Yes", reason="the provider is down")
        ((*_, status, waiting),) = self.rows()
        assert (status, waiting) == ("paused by olga: the provider is down", "3")
        assert "1 of 1 done" in self.post("resume", confirmed="Yes")
        assert limits.get(self.ledger, NAME).slots == 2
        assert "must be paused" in self.post("resume", confirmed="Yes")

    def test_a_viewer_can_look_and_not_pause(self) -> None:
        viewer = User.objects.create_user("vera", is_staff=True)
        self.client.force_login(viewer)
        assert self.client.get("/admin/agentq/limit/").status_code == 403
        viewer.user_permissions.add(Permission.objects.get(codename="view_limit"))
        assert len(self.rows()) == 1
        self.post("pause", confirmed="Yes", reason="mine")
        assert limits.get(self.ledger, NAME).slots == 2
        viewer.user_permissions.add(Permission.objects.get(codename="pause_limit"))
        self.post("pause", confirmed="Yes", reason="mine")
        assert limits.get(self.ledger, NAME).slots == 0

    def test_a_search_finds_a_whole_name_and_every_order_answers(self) -> None:
        agentq.start(ask.s(1, "large"))
        assert [row[1] for row in self.rows(q=NAME)] == ["small"]
        for query in ({"q": "a\0b"}, {"q": "small"}, {"o": "3"}, {"o": "-7.1"}, {"p": "1"}):
            self.get("limit/", **query)

    def test_the_list_takes_no_statement_more_for_more_rows(self) -> None:
        counted = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as seen:
                self.get("limit/")
            counted.append(len(seen))
            agentq.start_many([ask.s(1, f"model-{number}") for number in range(10)])
        assert counted[0] == counted[1]

    def rows(self, **query: str) -> list[list[str]]:
        page = self.get("limit/", **query)
        found = re.findall(r'<tr><td class="action-checkbox">.*?</tr>', page) or re.findall(
            r"<tr><th.*?</tr>", page.partition("<tbody>")[2]
        )
        cells = [re.findall(r'<(?:td|th) class="field-[^"]*">(.*?)</t[dh]>', row) for row in found]
        return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in cells]

    def get(self, page: str, **query: str) -> str:
        answer = self.client.get(f"/admin/agentq/{page}", query)
        assert answer.status_code == 200, answer
        return str(answer.content.decode())

    def post(self, action: str, **fields: Any) -> str:
        data = {"action": action, "_selected_action": NAME, **fields}
        answer = self.client.post("/admin/agentq/limit/", data, follow=True)
        assert answer.status_code == 200
        return str(answer.content.decode())
