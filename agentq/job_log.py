"""Lines of the log about one job: each begins with its step, id and attempt, and carries them for programs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import MutableMapping
from typing import Any


class JobLog(logging.LoggerAdapter[logging.Logger]):
    """A logger of one job: puts its ids in front of each message and into the record's ``agentq`` attribute."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        ids = dict(self.extra or {})
        kwargs["extra"] = {**kwargs.get("extra", {}), "agentq": ids}
        attempt = f" attempt={ids['attempt']}" if "attempt" in ids else ""
        subject = f"[{ids['step']} job={ids['job_id']}{attempt}]"
        return f"{subject.replace('%', '%%')} {msg}", kwargs  # which is a format


def job_log(
    logger: logging.Logger, step: str, job_id: uuid.UUID | str, attempt: int | None = None, **ids: str
) -> JobLog:
    """Return the logger of a job, under the name of *logger*; *ids* are others that its records carry."""
    numbers = {} if attempt is None else {"attempt": attempt}
    return JobLog(logger, {**ids, "job_id": str(job_id), "step": step, **numbers})
