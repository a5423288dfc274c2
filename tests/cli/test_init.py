"""``agentq init``: a starter that runs as it is written, types included, and never writes over anything."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from celery.app.defaults import NAMESPACES, flatten

from agentq.settings import Settings
from tests.cli.program import Inside

FILES = ["app.py", "celeryconfig.py", "start.py", "steps.py"]


@pytest.fixture
def starter(inside: Inside) -> Path:
    """A folder with the starter."""
    inside.text("init")
    return inside.folder


def test_init_writes_a_starter_and_prints_the_next_step(inside: Inside) -> None:
    printed = inside.text("init")
    assert sorted(path.name for path in inside.folder.iterdir()) == FILES
    assert printed.startswith(f"wrote {', '.join(FILES)}\n\nwhat next:\n  agentq up -A app ")


def test_a_folder_can_be_named_and_is_made(inside: Inside) -> None:
    assert "\n  cd deep/inside\n" in inside.text("init", "deep/inside")
    assert sorted(path.name for path in Path(inside.folder, "deep", "inside").iterdir()) == FILES


def test_init_never_overwrites(inside: Inside) -> None:
    mine = Path(inside.folder, "steps.py")
    mine.write_text("mine")
    said = inside.error("init")
    assert said.startswith(f"already in {inside.folder}: steps.py; nothing was written.")
    assert [path.name for path in inside.folder.iterdir()] == ["steps.py"]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_is_for(starter: Path, name: str) -> None:
    text = Path(starter, name).read_text()
    assert ast.get_docstring(ast.parse(text))
    assert max(map(len, text.splitlines())) <= 115


def test_every_setting_in_a_comment_exists(starter: Path) -> None:
    text = Path(starter, "celeryconfig.py").read_text()
    named = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE)
    known = {name for name, _ in flatten(NAMESPACES)} | {f"agentq_{name}" for name in Settings.model_fields}
    assert len(named) > 3
    assert set(named) <= known
