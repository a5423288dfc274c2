"""The golden table: what the real SDKs raise is classified, and answered by the default policy, as it says."""

from __future__ import annotations

import pytest

from agentq.policies import DEFAULT, Category, decide, describe
from tests.policies import table_anthropic, table_bedrock, table_google, table_http, table_openai
from tests.policies.cases import NOW, Case
from tests.policies.clients import CLIENTS, raised_by
from tests.policies.server import Manner, Provider

TABLE: list[Case] = [
    *table_openai.TABLE,
    *table_anthropic.TABLE,
    *table_google.TABLE,
    *table_bedrock.TABLE,
    *table_http.TABLE,
]
RUNS = [pytest.param(client, case, id=f"{client}: {case.name}") for case in TABLE for client in case.clients]
PROVIDERS = {"bedrock": "aws", "httpx2": "httpx"}
SILENCE = 0.3
"""Seconds after which a client gives up on a provider that stays silent."""


@pytest.mark.parametrize(("client", "case"), RUNS)
def test_a_failure_is_what_the_table_says(client: str, case: Case, failing: Provider) -> None:
    failing.answer = case.answer
    silent = case.answer.manner is Manner.STAYS_SILENT
    facts = describe(raised_by(CLIENTS[client], failing.url, SILENCE if silent else 20.0), now=NOW)
    least = decide(DEFAULT, facts, random=lambda: 0.0)
    most = decide(DEFAULT, facts, random=lambda: 1.0)

    assert facts.category is case.category
    assert (least.action, most.action) == (case.does.action, case.does.action)
    assert least.delay == pytest.approx(case.does.least)
    assert most.delay == pytest.approx(case.does.most)
    assert facts.code == case.code
    assert facts.request_id == case.request_id
    assert facts.provider in providers(client, case)
    assert failing.asked == 1 or client in ASKS_AGAIN, "the SDK tried again on its own"


ASKS_AGAIN = ("aiohttp",)
"""It asks once more on its own where a connection breaks, in spite of its options."""


def providers(client: str, case: Case) -> tuple[str | None, ...]:
    """Return who may be said to have failed; Google's SDK lets errors of what it speaks HTTP with through."""
    package = client.split("-")[0]
    if case.category is Category.INVALID_INPUT or (package == "aiohttp" and case.category is Category.TIMEOUT):
        return (None, package)  # Pydantic's and Python's own
    through = ("httpx", "aiohttp") if package == "google" and case.status is None else ()
    return (PROVIDERS.get(package, package), *through)


def test_the_table_has_no_two_rows_of_one_name() -> None:
    names = [run.id for run in RUNS]
    assert len(names) == len(set(names))
    assert len(TABLE) >= 60
