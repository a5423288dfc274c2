"""The files whose tests took longest, as pytest's reports show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

_MOST = 10


def slowest_files(reports: Iterable[object]) -> Iterator[str]:
    """Describe the ten slowest files, a line each; none where no more than ten have run.

    Each time adds up what the tests of a file took with their fixtures; with pytest-xdist, files run side by side.
    """
    seconds: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport):
            file = report.nodeid.partition("::")[0]
            seconds[file] += report.duration
            tests[file] += report.when == "call"
    if len(seconds) > _MOST:
        for file, took in seconds.most_common(_MOST):
            yield f"{took:7.1f} s  {file}  ({tests[file]} tests)"
