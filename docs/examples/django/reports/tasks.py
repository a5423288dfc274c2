"""The steps of a report. Celery finds them, since the module is named ``tasks``."""

from agentq import Context, each, step
from reports.models import Report


@step
def find(topic: str) -> list[str]:
    """Find sources; a real one would search."""
    return [f"{topic} {chapter}" for chapter in ("past", "present", "future")]


@step(timeout=60)
def summarize(source: str) -> str:
    """Summarise one source; a real one would call a model."""
    return f"{source.title()} in one line."


@step
def publish(ctx: Context, lines: list[str], report_id: int) -> int:
    """Keep the text with the report, in the transaction that records that this is done."""
    text = "\n".join(lines)
    ctx.on_complete(lambda session: Report.objects.filter(pk=report_id).update(text=text))
    return len(text)


def write_report(report: Report):
    """Return the canvas that writes a report."""
    return find.s(report.topic) | each(summarize.s()) | publish.s(report.pk)
