"""The snippets of docs/flask.md are parts of the application that the tests run."""

from __future__ import annotations

import re

import pytest

from tests.contrib.flask.project import EXAMPLE, ROOT

PAGE = (ROOT / "docs" / "flask.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)


def test_every_snippet_names_its_file() -> None:
    assert len(SNIPPETS) == PAGE.count("```python")


@pytest.mark.parametrize(("file", "code"), SNIPPETS)
def test_a_snippet_is_what_the_tests_run(file: str, code: str) -> None:
    assert code in (EXAMPLE / file).read_text(encoding="utf-8")
