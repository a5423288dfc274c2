"""The points at which a sweep crashes: a sample is the same each time, and ten in a row leave out no point."""

from __future__ import annotations

import pytest

from tests.sweep import command
from tests.sweep.choice import SAMPLES, sample


def test_ten_samples_in_a_row_have_each_point_once() -> None:
    points = [point for number in range(739_585, 739_585 + SAMPLES) for point in sample(708, number)]
    assert sorted(points) == [*range(708)]


def test_a_number_always_means_the_same_sample_of_a_tenth() -> None:
    assert sample(708, 3) == sample(708, 3) == sample(708, 3 + SAMPLES) != sample(708, 4)
    assert {len(sample(708, number)) for number in range(SAMPLES)} == {70, 71}


@pytest.mark.parametrize(
    ("wanted", "scenario", "arguments"),
    [
        ("7", "reference", ["--each"]),
        ("7", "parts", ["--sample", "7"]),
        ("all", "parts", ["--each"]),
    ],
)
def test_the_reference_is_swept_whole_and_the_others_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, wanted: str, scenario: str, arguments: list[str]
) -> None:
    monkeypatch.setenv("AGENTQ_SAMPLE", wanted)
    assert command.arguments_for(scenario) == arguments


def test_the_sample_of_the_day_is_another_one_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTQ_SAMPLE", raising=False)
    (_, today) = command.arguments_for("parts")
    assert sample(708, int(today)) != sample(708, int(today) + 1)
