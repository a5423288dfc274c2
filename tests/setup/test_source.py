"""The source keeps its shape: small files, and names that are exported on purpose."""

from __future__ import annotations

import inspect
import re

import pytest

import agentq
from tests.setup.source import ROOT, modules

LONGEST = 500


def test_no_file_is_too_long_to_read() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, path in modules().items() if not path.read_text().startswith('"""')] == []


def test_the_exported_names_are_sorted() -> None:
    assert sorted(agentq.__all__) == agentq.__all__


@pytest.mark.parametrize("name", agentq.__all__)
def test_an_exported_name_has_a_docstring_of_its_own(name: str) -> None:
    assert inspect.getdoc(getattr(agentq, name))


@pytest.mark.parametrize("name", agentq.__all__)
def test_an_exported_name_is_in_the_documentation(name: str) -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    assert re.search(rf"\b{name}\b", text), f"{name} is exported but no page names it"


def test_the_package_is_typed() -> None:
    assert (ROOT / "agentq" / "py.typed").exists()
