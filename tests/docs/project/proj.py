"""The project of the pages that have none of their own: ``agentq -A proj …``."""

from celery import Celery

from agentq import AgentQ, step

app = Celery("proj")
AgentQ(app)


@step(queue="llm")
def summarise(text: str, limit: int = 10) -> dict[str, str]:
    """Take the beginning of a text, as the title of it."""
    if limit > 100:
        raise ValueError(f"a title of {limit} characters is too long")
    return {"title": text[:limit]}
