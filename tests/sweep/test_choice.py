"""The points at which a sweep crashes: a sample is the same each time, and twenty in a row leave out no point."""

from __future__ import annotations

import pytest

from tests.support.samples import wanted_sample
from tests.sweep import command
from tests.sweep.choice import SAMPLES, real_crashes, sample


def test_twenty_samples_in_a_row_have_each_point_once() -> None:
    points = [point for number in range(739_585, 739_585 + SAMPLES) for point in sample(708, number)]
    assert sorted(points) == [*range(708)]


def test_a_number_always_means_the_same_sample_of_a_twentieth() -> None:
    assert sample(708, 3) == sample(708, 3) == sample(708, 3 + SAMPLES) != sample(708, 4)
    assert {len(sample(708, number)) for number in range(SAMPLES)} == {35, 36}


def test_some_crashes_are_real_wherever_there_is_a_crash() -> None:
    assert [real_crashes(count) for count in (0, 1, 35, 718)] == [0, 1, 2, 5]


@pytest.mark.parametrize(
    ("scenario", "wanted", "arguments"),
    [
        ("reference", "7", []),
        ("parts", "7", ["--sample", "7"]),
        ("reference", "all", []),
        ("parts", "all", []),
    ],
)
def test_each_point_of_the_reference_is_crashed_and_each_point_of_all_if_they_are_wanted(
    scenario: str, wanted: str, arguments: list[str]
) -> None:
    assert command.arguments_for(scenario, wanted) == arguments


def test_the_sample_is_that_of_the_environment_or_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTQ_SAMPLE", "7")
    assert wanted_sample() == "7"
    monkeypatch.delenv("AGENTQ_SAMPLE")
    today = int(wanted_sample())
    assert sample(708, today) != sample(708, today + 1)
