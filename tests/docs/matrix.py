"""The fault matrix of docs/reliability.md: fault by phase, with the tests that cover each cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import ascii_lowercase

import pytest

from tests.support.faults import SENSELESS, Fault, Phase

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- fault matrix: written by scripts/fault-matrix from the marks of the tests -->"
END = "<!-- end of the fault matrix -->"

Cell = tuple[Fault, Phase]


@dataclass(frozen=True, order=True)
class Covering:
    """A test with its marks, whatever its parameters."""

    file: str
    name: str
    cells: frozenset[Cell]


class Collector:
    """A plugin of pytest that keeps what is collected and has marks."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], set[Cell]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            file, _, name = item.nodeid.partition("::")
            for mark in item.iter_markers("covers"):
                fault, *phases = mark.args
                cells = self._cells.setdefault((file, name.partition("[")[0]), set())
                cells.update((Fault(fault), Phase(phase)) for phase in phases)

    @property
    def found(self) -> list[Covering]:
        """The tests that cover something, in the order of their names."""
        return sorted(Covering(file, name, frozenset(cells)) for (file, name), cells in self._cells.items())


def collect() -> list[Covering]:
    """Return the tests that cover a cell; ends the program where the tests cannot be collected."""
    marked = [
        path for path in (ROOT / "tests").rglob("test_*.py") if "covers(" in path.read_text(encoding="utf-8")
    ]
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *map(str, sorted(marked))]
    collector = Collector()
    printed = StringIO()
    with redirect_stdout(printed):
        code = pytest.main(arguments, [collector])
    if code != pytest.ExitCode.OK:
        sys.exit(f"the tests cannot be collected:\n{printed.getvalue()[-3000:]}")
    return collector.found


def write(tests: Sequence[Covering]) -> str:
    """Return the generated part of the page."""
    numbers = {test: number for number, test in enumerate(tests, 1)}
    reasons = dict(zip(dict.fromkeys(SENSELESS.values()), ascii_lowercase, strict=False))
    empty = sum(1 for cell in _cells() if cell not in SENSELESS and not _covering(tests, cell))
    legend = [f"- <sup>{letter}</sup> {reason}" for reason, letter in reasons.items()]
    table = _table(tests, numbers, reasons)
    return "\n".join([*table, "", _summary(tests, empty), "", *legend, "", "The tests:", "", *_list(numbers)])


def problems(tests: Sequence[Covering]) -> list[str]:
    """Return the cells that are said to make no sense and are covered all the same."""
    return [f"{fault} / {phase}" for fault, phase in SENSELESS if _covering(tests, (fault, phase))]


def replaced(page: str, part: str) -> str:
    """Return the page with its generated part replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def _cells() -> Iterator[Cell]:
    yield from ((fault, phase) for fault in Fault for phase in Phase)


def _covering(tests: Sequence[Covering], cell: Cell) -> list[Covering]:
    return [test for test in tests if cell in test.cells]


def _table(tests: Sequence[Covering], numbers: dict[Covering, int], reasons: dict[str, str]) -> Iterator[str]:
    def text_of(cell: Cell) -> str:
        if cell in SENSELESS:
            return f"-<sup>{reasons[SENSELESS[cell]]}</sup>"
        return " ".join(str(numbers[test]) for test in _covering(tests, cell))

    yield f"| | {' | '.join(Phase)} |"
    yield "|---" * (len(Phase) + 1) + "|"
    for fault in Fault:
        yield f"| **{fault}** | {' | '.join(text_of((fault, phase)) for phase in Phase)} |"


def _summary(tests: Sequence[Covering], empty: int) -> str:
    covered = len(Fault) * len(Phase) - len(SENSELESS) - empty
    nothing = f"in {len(SENSELESS)} there is nothing to test (-)"
    return f"{covered} cells are covered, by {len(tests)} tests; {empty} are empty; {nothing}:"


def _list(numbers: dict[Covering, int]) -> Iterator[str]:
    file = None
    for test, number in numbers.items():
        if test.file != file:
            file = test.file
            yield f"- [{file}](../{file})"
        yield f"  - {number}: {test.name.replace('::', ', ').removeprefix('test_').replace('_', ' ')}"


def main(*arguments: str) -> None:
    """Write the page, or check it."""
    tests = collect()
    if found := problems(tests):
        sys.exit(
            "covered, though tests/support/faults.py says that there is nothing to test:\n" + "\n".join(found)
        )
    page = PAGE.read_text(encoding="utf-8")
    wanted = replaced(page, write(tests))
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        sys.exit(f"{PAGE.relative_to(ROOT)} is not what the tests say; run scripts/fault-matrix")


if __name__ == "__main__":
    main(*sys.argv[1:])
