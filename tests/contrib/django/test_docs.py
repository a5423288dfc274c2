"""The snippets of docs/django.md are parts of projects that the tests run."""

from __future__ import annotations

import re

import pytest

from tests.contrib.django.project import EXAMPLE, ROOT

PAGE = (ROOT / "docs" / "django.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
ELSEWHERE = {
    "letters/tasks.py": ROOT / "tests/contrib/django/letters/tasks.py",
    "letters/patient.py": ROOT / "tests/contrib/django/letters/patient.py",
    "settings": ROOT / "tests/contrib/django/task_settings.py",
}


def test_every_snippet_names_its_file() -> None:
    assert len(SNIPPETS) == PAGE.count("```python")


@pytest.mark.parametrize(("file", "code"), SNIPPETS)
def test_a_snippet_is_what_the_tests_run(file: str, code: str) -> None:
    assert code in ELSEWHERE.get(file, EXAMPLE / file).read_text(encoding="utf-8")


def test_each_setting_and_permission_that_is_named_is_there() -> None:
    for permission in set(re.findall(r"`agentq\.((?:cancel|replay)_\w+)`", PAGE)):
        assert f'"{permission}"' in (ROOT / "agentq/contrib/django/models.py").read_text(encoding="utf-8")
