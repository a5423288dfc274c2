"""Texts that are kept or shown: storable everywhere, bounded, without secrets."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agentq.redaction import MASK, clean, is_secret_name, masked, show

SECRETS = [
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "sk-ant-" + "api03-" + "a" * 40,
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcdefghijk",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:8])
def test_keys_are_masked_wherever_they_stand(secret: str) -> None:
    for text in (secret, f"401: key {secret} is wrong", f"'{secret}'", f"x={secret},"):
        assert secret not in clean(text, 1000)
        assert MASK in clean(text, 1000)
    assert masked({"a": [f"key {secret}"]}) == {"a": [f"key {MASK}"]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:hunter2@db/x", "postgresql://***@db/x"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("GET /v1?page=2&key=hunter2 failed", "GET /v1?page=2&*** failed"),
        ("password=hunter2 user=ann", "password=*** user=ann"),
        ("{'api_key': 'hunter2', 'n': 1}", "{'api_key': ***, 'n': 1}"),
        ('"client_secret": "hunter2"', '"client_secret": ***'),
        ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----", MASK),
        ("-----BEGIN PRIVATE KEY-----\nhunter2 cut off", MASK),
    ],
)
def test_an_apparent_secret_is_masked(text: str, shown: str) -> None:
    assert clean(text, 1000) == shown


@pytest.mark.parametrize(
    "text", ["a plain sentence", "10:30 at the station", "see https://example.com/a?b=c", "sk-8 tokens", ""]
)
def test_other_text_than_secrets_stays(text: str) -> None:
    assert clean(text, 1000) == text


@given(st.text(st.characters()), st.integers(1, 200))
def test_clean_text_is_storable_and_bounded(text: str, limit: int) -> None:
    kept = clean(text, limit)
    kept.encode()
    assert "\x00" not in kept
    assert len(kept) <= limit


def test_a_secret_across_the_cut_is_masked() -> None:
    secret = "sk-" + "a" * 60
    for start in range(80, 110):
        assert "sk-aaaa" not in clean("x" * start + " " + secret, 100)


@pytest.mark.parametrize("text", ["a", "a-", "eyJ", "ab ", "'", "://", "="])
def test_a_huge_text_costs_little(text: str) -> None:
    began = time.process_time()
    assert len(clean(text * (50_000_000 // len(text)), 16_000)) <= 16_000
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", ["password", "DB_PASSWD", "apiKey", "x-api-key", "access_token", "Authorization"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)
    assert show("hunter2", name=name) == MASK
    assert masked({name: "hunter2"}) == {name: MASK}


@pytest.mark.parametrize("name", ["path", "name", "question", 5, None])
def test_other_names_are_no_secrets(name: object) -> None:
    assert not is_secret_name(name)
    assert show("value", name=name) == "'value'"


def test_a_secret_type_is_not_shown() -> None:
    assert show(SecretStr("hunter2")) == MASK


def test_a_repr_that_raises_is_shown_as_such() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("hunter2")

    assert show(Broken()) == "<Broken, whose repr raises RuntimeError>"


def test_values_of_secret_keys_are_masked_at_any_depth() -> None:
    data: Any = {"a": [{"password": "x", "n": 1}], "token": ["y"], "b": 2.5}
    assert masked(data) == {"a": [{"password": MASK, "n": 1}], "token": MASK, "b": 2.5}
