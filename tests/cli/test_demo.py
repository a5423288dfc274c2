"""``agentq demo`` without what it needs says what to install; the demo itself has tests of its own."""

import sys

import pytest

from tests.cli.program import Inside


def test_a_missing_extra_is_named_with_its_remedy(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sumy", None)
    assert inside.error("demo") == "the demo needs sumy; run: pip install 'celery-agentq[demo]'"
