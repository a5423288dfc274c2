"""After a crash at any point, the next worker brings everything to its end, and nothing was done twice."""

from __future__ import annotations

import pytest

from tests.sweep.command import Say, any_phase, check_points, every_scenario


@any_phase
@every_scenario
@pytest.mark.timeout(1800)
def test_a_crash_at_any_point_is_recovered_from_on_sqlite(say: Say, scenario: str, least: int) -> None:
    check_points("sqlite", scenario, least, say)
