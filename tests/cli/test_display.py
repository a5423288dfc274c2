"""Text for people: ages, durations, columns, and nothing that a terminal would obey."""

from datetime import UTC, datetime, timedelta

import pytest

from agentq.cli.display import age, columns, data, fields, one_line, printable, rounded, table, took

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min"),
        (3_600, "1 h"),
        (86_400, "24 h"),
        (172_800, "2 days"),
        (10 * 86_400, "10 days"),
    ],
)
def test_durations_have_one_unit(seconds: float, text: str) -> None:
    assert rounded(seconds) == text
    assert age(NOW - timedelta(seconds=seconds), NOW) == f"{text} ago"


def test_the_age_of_a_future_time_and_of_none() -> None:
    assert age(NOW + timedelta(seconds=5), NOW) == "in 5 s"
    assert age(None) == ""
    assert took(None, NOW) == ""
    assert took(NOW, NOW + timedelta(milliseconds=250)) == "0.25 s"
    assert took(NOW, NOW + timedelta(minutes=5)) == "5 min"


def test_wide_and_combining_signs_keep_the_columns_straight() -> None:
    rows = [("テナント", "1"), ("e\u0301clair", "2"), ("plain", "3")]
    header, *lines = table(("NAME", "N"), rows).splitlines()
    assert [columns(line[: line.rindex(number)]) for line, (_, number) in zip(lines, rows, strict=True)] == [
        10
    ] * 3
    assert header.rindex("N") == 10


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [("x", "1"), ("long", "")]).splitlines() == ["A     B", "x     1", "long"]


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("id", "7"), ("reason", ""), ("name", "x")]) == "id    7\nname  x"


def test_cells_are_one_line_that_no_terminal_obeys() -> None:
    assert one_line("a\n  b\x1b]0;title\x07c") == "a b ]0;title c"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"
    assert printable("kept\nlines, no \x9b2J") == "kept\nlines, no  2J"


def test_long_data_is_indented() -> None:
    assert data({"a": [1, "é"]}) == '{"a": [1, "é"]}'
    assert data(["x" * 90]).splitlines()[0] == "["
