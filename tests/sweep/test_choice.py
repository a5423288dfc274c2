"""The points at which a sweep crashes: a sample is the same each time, and twenty in a row leave out no point."""

from __future__ import annotations

import pytest

from tests.support.samples import wanted_sample
from tests.sweep import command
from tests.sweep.choice import SAMPLES, one_per_state, sample


def test_twenty_samples_in_a_row_have_each_point_once() -> None:
    points = [point for number in range(739_585, 739_585 + SAMPLES) for point in sample(708, number)]
    assert sorted(points) == [*range(708)]


def test_a_number_always_means_the_same_sample_of_a_twentieth() -> None:
    assert sample(708, 3) == sample(708, 3) == sample(708, 3 + SAMPLES) != sample(708, 4)
    assert {len(sample(708, number)) for number in range(SAMPLES)} == {35, 36}


def test_two_halves_have_each_state_once_and_together_each_point() -> None:
    names = ["before a", "after a", "before b", "after b", "after c", "before d"]
    first, second = ([*one_per_state(names, half)] for half in (0, 1))
    assert sorted({*first, *second}) == [*range(6)]
    for half in (first, second):
        alone, one_of_two, own, other = half
        assert (alone, one_of_two in (1, 2), own, other in (4, 5)) == (0, True, 3, True)
    assert [*one_per_state(names, 2)] == first


@pytest.mark.parametrize(
    ("ledger", "scenario", "wanted", "arguments"),
    [
        ("sqlite", "reference", "7", ["--each"]),
        ("postgresql", "reference", "7", ["--half", "7"]),
        ("sqlite", "parts", "7", ["--sample", "7"]),
        ("postgresql", "reference", "all", ["--each"]),
        ("sqlite", "parts", "all", ["--each"]),
    ],
)
def test_each_point_of_the_reference_is_crashed_and_each_point_of_all_if_they_are_wanted(
    ledger: str, scenario: str, wanted: str, arguments: list[str]
) -> None:
    assert command.arguments_for(ledger, scenario, wanted) == arguments


def test_the_sample_is_that_of_the_environment_or_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTQ_SAMPLE", "7")
    assert wanted_sample() == "7"
    monkeypatch.delenv("AGENTQ_SAMPLE")
    today = int(wanted_sample())
    assert sample(708, today) != sample(708, today + 1)
