"""A step that calls a provider under a cooldown, without retries; ``-I tests.runtime.cooling_steps``."""

from __future__ import annotations

import urllib.request

from agentq import Concurrency, Cooldown, step

SLOTS = 4


@step(retries=0, limits=[Concurrency("real-cooling", limit=SLOTS), Cooldown("real-cooling")])
def call_provider(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return int(answer.status)
