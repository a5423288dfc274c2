"""Start a workflow of ``proj``, see it succeed, fail or be scheduled, and print its id and that of its only job.

    python begin.py (succeeded|failed|scheduled)

The job's id names its dead letter too. A worker has to be there, but for the last.
"""

import sys
from datetime import UTC, datetime, timedelta

import proj

import agentq

(status,) = sys.argv[1:]
canvas = proj.summarise.s("agentq keeps every workflow", limit=1000 if status == "failed" else 10)
later = status == "scheduled"
workflow = agentq.start(canvas, not_before=datetime.now(UTC) + timedelta(hours=1) if later else None)
seen = list(workflow.events(timeout=60, follow=not later))
(job,) = workflow.jobs()
assert job.status == status, seen
print(workflow.id, job.id)
