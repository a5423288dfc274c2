"""A run of all tests takes a quarter of the long ones; four days in a row leave none out."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.samples import EVERYTHING, QUARTERS, SAMPLE, left_out

pytest_plugins = ["pytester"]


@pytest.fixture
def items(pytester: pytest.Pytester) -> list[pytest.Item]:
    """Ten tests, of which every other one is long."""
    pytester.makeini("[pytest]\nmarkers = long")
    tests = "".join(f"@pytest.mark.long\ndef test_{n}a(): pass\ndef test_{n}b(): pass\n" for n in range(5))
    return pytester.getitems(f"import pytest\n{tests}")


def test_four_samples_in_a_row_have_each_long_test_once(
    items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: Counter[str] = Counter()
    for number in range(739_585, 739_585 + QUARTERS):
        monkeypatch.setenv(SAMPLE, str(number))
        others = left_out(items)
        taken.update(item.name for item in items if item not in others)
    assert taken == {item.name: 1 if item.name.endswith("a") else QUARTERS for item in items}


def test_everything_leaves_nothing_out(items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SAMPLE, EVERYTHING)
    assert left_out(items) == []
