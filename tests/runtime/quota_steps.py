"""A step that calls a provider within its quota; ``-I tests.runtime.quota_steps``."""

from __future__ import annotations

import urllib.request

from agentq import Concurrency, Context, Cooldown, Rate, step
from tests.support.quota import Quota

QUOTA = Quota(at_once=10, limit=600, per=60.0, took=0.3)
"""The provider's."""


@step(
    limits=[
        Concurrency("provider", limit=QUOTA.at_once),
        Rate("provider", limit=QUOTA.limit, per=QUOTA.per),
        Cooldown("provider"),
    ]
)
def call_provider(ctx: Context, url: str) -> int:
    with urllib.request.urlopen(url + ctx.tenant, timeout=30) as answer:
        return int(answer.status)
