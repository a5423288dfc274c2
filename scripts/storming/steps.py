"""The work of each job: one request to the provider."""

from __future__ import annotations

import urllib.request

from agentq import step


@step
def ask(url: str) -> int:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return int(answer.status)
