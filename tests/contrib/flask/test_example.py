"""The example application, complete: a request starts a workflow, a worker runs it, pages show its status."""

from __future__ import annotations

from pathlib import Path

from tests.contrib.flask.project import Project
from tests.support import Broker
from tests.support.waiting import eventually

TEXT = "Queues Past in one line.\nQueues Present in one line.\nQueues Future in one line."


def test_a_request_a_worker_and_the_result(empty_database: str, tmp_path: Path, redis_broker: Broker) -> None:
    project = Project(empty_database, tmp_path, redis_broker.url)
    project.flask("create-tables")
    project.flask("agentq", "db", "upgrade")
    with project.server() as server, project.worker():
        code, started = server.post("/reports/", topic="queues")
        assert code == 202
        page = started["status"]
        eventually(lambda: server.get(page)[1]["status"] == "succeeded", 60, what="a report that is written")
        assert server.get(f"/reports/{started['report']}") == (200, {"text": TEXT})
        assert server.get(f"{page}/result") == (200, {"result": len(TEXT)})
        assert {job["status"] for job in server.get(f"{page}/jobs")[1]["jobs"]} == {"succeeded"}
        assert server.get(page, token="token-of-other")[0] == 404
        assert server.get(page, token="nobody's")[0] == 401
    assert page.rpartition("/")[2] in project.flask("agentq", "workflows", "list")
