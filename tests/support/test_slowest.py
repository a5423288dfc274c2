"""The end of a run names the ten files that took longest, with all that their tests took."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.slowest import slowest_files


def reports(files: int) -> Iterator[pytest.TestReport]:
    """Reports of two tests in each file, of which each takes longer than the one before."""
    for file in range(files):
        for test in ("test_it", "test_it[2::a]"):
            for when in ("setup", "call", "teardown"):
                name = f"test_{file}.py::{test}"
                yield pytest.TestReport(
                    name, ("", 0, ""), {}, "passed", None, when, duration=file + (when == "setup")
                )


def test_the_ten_slowest_of_more_files_are_named() -> None:
    lines = [*slowest_files([*reports(12), "what is no report"])]
    assert len(lines) == 10
    assert lines[0] == "   68.0 s  test_11.py  (2 tests)"
    assert lines[-1] == "   14.0 s  test_2.py  (2 tests)"


def test_a_run_of_a_few_files_names_none() -> None:
    assert [*slowest_files(reports(10))] == []
