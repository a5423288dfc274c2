"""Start a workflow of two limited steps that no worker takes, and print its id and that of its last job.

python asking.py
"""

import proj  # noqa: F401 - its app is the current one
from celery import group

import agentq


@agentq.step(limits=[agentq.Concurrency("model", key="model", limit=1)])
def ask(model: str) -> str:
    """Stand for a call of a model."""
    return model


asked = ask.s("gpt-5").set(queue="nobody")
workflow = agentq.start(group([asked, asked]), tenant="acme")
print(workflow.id, max(job.id for job in workflow.jobs() if job.step.endswith("ask")))
