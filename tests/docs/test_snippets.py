"""Every snippet of the README and of the pages is run, or says why it is not."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.loaded import loaded_program
from tests.docs.place import environment, place
from tests.docs.reader import Reader
from tests.docs.snippets import ROOT, Page, Snippet, pages, read
from tests.support.forked import run

_LOADED = ("agentq.runtime.app", "agentq.testing.inline", "sqlalchemy.dialects.sqlite.pysqlite", "markdown_it")
"""Modules that the Python of each page loads: over a second's work."""
PAGES = list(pages())
_FIRST_READ = ("README.md", "docs/tutorial.md", "docs/limits.md")
"""The pages whose commands are typed in every run; those of the others are long."""
TYPED = [
    pytest.param(page, id=page.name, marks=() if page.name in _FIRST_READ else pytest.mark.long)
    for page in PAGES
    if page.is_typed
]
SNIPPETS = [
    pytest.param(page, snippet, id=f"{page.name}:{snippet.line}") for page in PAGES for snippet in page.snippets
]


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """The folder of the program that is loaded already."""
    with loaded_program() as folder:
        yield folder


def named(chosen: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in chosen])


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_a_snippet_is_run_or_says_why_not(page: Page, snippet: Snippet) -> None:
    if snippet.not_run:
        pytest.skip(snippet.not_run)
    assert page.runs(snippet), "mark it: <!-- snippets: not run, REASON -->, or see tests/docs/snippets.py"


@named([page for page in PAGES if any(snippet.is_program for snippet in page.snippets)])
def test_the_python_of_a_page_runs(page: Page, tmp_path: Path) -> None:
    command = ["-m", "tests.docs.page_program", str(page.path)]
    env = environment() | {"PYTHONPATH": str(ROOT)}
    done = run(command, loaded=_LOADED, environment=env, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", TYPED)
def test_the_commands_of_a_page_run_as_typed(page: Page, tmp_path: Path, programs: Path) -> None:
    with place(page, tmp_path, programs) as (own, env), Reader(tmp_path, env) as reader:
        for snippet in own.snippets:
            reader.do(snippet)


@named([page for page in PAGES if any(snippet.before for snippet in page.snippets)])
def test_the_old_side_of_a_diff_runs_on_celery_alone_and_prints_the_same(page: Page, tmp_path: Path) -> None:
    tmp_path.joinpath("eager.py").write_text("task_always_eager = True\n")
    eager = {"CELERY_LOADER": "default", "CELERY_CONFIG_MODULE": "eager", "PYTHONPATH": str(tmp_path)}
    for snippet in page.snippets:
        if snippet.before and snippet.file:
            assert "agentq" not in snippet.before
            path = tmp_path / snippet.file
            path.write_text(snippet.before)
            command = [sys.executable, str(path)]
            env = environment() | eager
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            printed = [other.code for other in page.snippets if other.language == "text"]
            assert done.stdout in printed, "the page has to show what its new side prints"


def test_a_diff_is_what_it_ends_as_and_keeps_what_it_begins_with(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```diff\n # a.py\n\n-old = 1\n+new = 1\n```\n", encoding="utf-8")
    (snippet,) = read(page).snippets
    assert (snippet.file, snippet.code, snippet.before) == ("a.py", "# a.py\n\nnew = 1\n", "# a.py\n\nold = 1\n")


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("true\nfalse  # it fails", "exit code 1 of: false"),
        ("agentq jobz", "exit code 2"),
        ("frobnicate --all", "exit code 127"),
        ("true | false | true", "exit code 1"),
        ("exit", "ended its shell"),
    ],
)
def test_a_failed_command_is_reported(code: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=wrong), Reader(tmp_path, environment()) as reader:
        reader.do(Snippet(1, "console", code))


def test_a_command_that_does_not_end_keeps_its_terminal(tmp_path: Path) -> None:
    served = "here=yes\nbash -c 'echo running on http && exec sleep 600'\necho here ${here-no}\n"
    with Reader(tmp_path, environment()) as reader:
        reader.do(Snippet(1, "console", served))
        reader.do(Snippet(6, "text", "here no"))


def test_missing_output_is_reported(tmp_path: Path) -> None:
    with Reader(tmp_path, environment()) as reader:
        reader.do(Snippet(1, "console", "echo one"))
        reader.do(Snippet(4, "text", "o…e"))
        with pytest.raises(AssertionError, match="'two' is not printed"):
            reader.do(Snippet(7, "text", "two"))


@pytest.mark.parametrize("language", ["yaml", "", "text"])
def test_a_snippet_that_does_not_run_needs_a_mark(language: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"```{language}\nsomething\n```\n", encoding="utf-8")
    page = read(path)
    assert not page.runs(page.snippets[0])


def test_an_unknown_mark_is_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- snippets: skip -->\n", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be 'skip'"):
        read(page)


@named([page for page in PAGES if page.tests])
def test_the_tests_that_a_page_names_are_about_it(page: Page) -> None:
    assert page.path.name in (ROOT / page.tests).read_text(encoding="utf-8")


def test_the_extras_that_are_installed_exist() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "\n".join(page.path.read_text(encoding="utf-8") for page in PAGES)
    named = {extra for names in re.findall(r"celery-agentq\[([\w,-]+)\]", text) for extra in names.split(",")}
    assert named
    assert named <= known.keys()
