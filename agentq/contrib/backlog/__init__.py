"""The answer of a web application to a request whose start was refused: 429 with ``Retry-After``.

No framework is needed. A response for one is in the module of its name: ``starlette`` (FastAPI too), ``flask``,
``django``.
"""

from __future__ import annotations

import json
import math

from agentq.exceptions import BacklogFull

__all__ = ["CONTENT_TYPE", "STATUS", "body", "headers"]

STATUS = 429
CONTENT_TYPE = "application/problem+json"


def headers(error: BacklogFull) -> dict[str, str]:
    """Return the headers of the response, beside its content type."""
    return {"Retry-After": str(math.ceil(error.retry_after)), "Cache-Control": "no-store"}


def body(error: BacklogFull) -> str:
    """Return the JSON of the response (RFC 9457), which says which cap it was, and when to try again."""
    problem = {
        "title": "Too Many Requests",
        "status": STATUS,
        "detail": str(error),
        "cap": error.cap,
        "most": error.most,
        "count": error.count,
        "retry_after": error.retry_after,
    }
    return json.dumps(problem, ensure_ascii=False)
