"""The fault matrix in docs/reliability.md says what the tests cover, and its scripts are there.

Whether it is current says ``scripts/fault-matrix --check``: a command of the page, which is run with the others.
"""

from __future__ import annotations

import re

from tests.docs.matrix import PAGE, ROOT, Covering, problems, replaced, write
from tests.support.faults import SENSELESS, Fault, Phase


def test_every_script_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"scripts/[a-z-]+", PAGE.read_text(encoding="utf-8")))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def covering(name: str, *cells: tuple[Fault, Phase]) -> Covering:
    return Covering("tests/test_it.py", name, frozenset(cells))


def test_a_cell_names_its_tests_and_an_empty_one_is_seen_to_be_empty() -> None:
    one, two = (Fault.FLUSH, Phase.DISPATCH), (Fault.FLUSH, Phase.BODY)
    rows = write([covering("test_a", one), covering("test_b", one, two)]).splitlines()
    cells = next(row for row in rows if row.startswith(f"| **{Fault.FLUSH}**")).split("|")[2:-1]
    found = dict(zip(Phase, map(str.strip, cells), strict=True))
    assert (found[Phase.DISPATCH], found[Phase.BODY], found[Phase.HAND_OVER]) == ("1 2", "2", "")
    assert found[Phase.START].startswith("-")
    assert any(row.startswith("2 cells are covered, by 2 tests") for row in rows)


def test_a_covered_cell_cannot_be_declared_senseless() -> None:
    cell = next(iter(SENSELESS))
    assert problems([covering("test_a", cell)]) == [f"{cell[0]} / {cell[1]}"]


def test_writing_the_matrix_keeps_the_text_around_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert replaced(replaced(page, "old"), "new") == replaced(page, "new")
    assert replaced(page, "new").startswith(page.partition("<!--")[0])
