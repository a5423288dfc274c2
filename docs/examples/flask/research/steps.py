"""The steps of a report."""

from celery import Signature

from agentq import each, step
from research.models import Report, db


@step
def find(topic: str) -> list[str]:
    """Find sources; a real one would search."""
    return [f"{topic} {chapter}" for chapter in ("past", "present", "future")]


@step(timeout=60)
async def summarize(source: str) -> str:
    """Summarise one source; a real one would call a model."""
    return f"{source.title()} in one line."


@step
def publish(lines: list[str], report_id: int) -> int:
    """Keep the text with the report; run twice, it writes the same."""
    report = db.session.get_one(Report, report_id)
    report.text = "\n".join(lines)
    db.session.commit()
    return len(report.text)


def write_report(report: Report) -> Signature:
    """Return the canvas that writes a report."""
    return find.s(report.topic) | each(summarize.s()) | publish.s(report.id)
