"""How an application tests that it starts workflows: no broker and no worker are needed."""

from uuid import uuid4

from django.test import TestCase

import agentq
from agentq.contrib.django.models import Workflow
from reports.models import Report


class StartTest(TestCase):
    """A request writes the report and its workflow."""

    def test_a_request_starts_a_workflow(self):
        """The workflow is in the ledger at once; its dispatch waits for the commit."""
        with self.captureOnCommitCallbacks() as callbacks:
            answer = self.client.post("/reports/", {"topic": "queues"})
        assert answer.status_code == 202
        assert len(callbacks) == 1
        report = Report.objects.get(pk=answer.json()["report"])
        assert agentq.workflow(str(report.workflow)).status == "running"
        assert Workflow.objects.get(pk=report.workflow).jobs.get(status="queued").step == "reports.tasks.find"

    def test_a_report_outlives_its_workflow(self):
        """Workflows that ended long ago are pruned, reports are not."""
        report = Report.objects.create(topic="queues", text="done", workflow=uuid4())
        assert self.client.get(f"/reports/{report.pk}/").json() == {"status": None, "text": "done"}

    def test_nothing_is_left_of_another_test(self):
        """Each test's transaction is rolled back, the ledger's rows with it."""
        assert Workflow.objects.count() == 0
