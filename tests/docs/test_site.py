"""The pages make a site without a warning, with a page for each noun, and say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import agentq
from agentq.states import JOB_MOVES, AttemptOutcome, JobStatus
from tests.docs import names
from tests.docs.snippets import ROOT

DOCS = ROOT / "docs"
NOUNS = {
    "step": "steps",
    "workflow": "workflows",
    "job": "jobs",
    "attempt": "attempts",
    "canvas": "canvas",
    "ledger": "ledger",
    "dispatch": "dispatch",
    "claim": "claim",
    "hand-over": "hand-over",
    "caretaker": "caretaker",
    "dead letter": "dead-letters",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    made = subprocess.run(
        [*command, str(DOCS), str(folder)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.long
def test_the_site_has_every_page_and_every_export(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()
    reference = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [name for name in agentq.__all__ if f'id="agentq.{name}"' not in reference] == []
    assert 'id="agentq-dead-letters-replay"' in (site / "reference" / "commands.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", names.PAGES, ids=lambda page: page.stem)
def test_a_page_made_from_the_code_says_it_in_one_line_each_also_where_no_site_is_built(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(names.names(text)) > 3
    assert names.replaced(text) == text, "run scripts/reference-names"


@pytest.mark.parametrize(("noun", "page"), NOUNS.items())
def test_a_noun_has_a_page_that_says_what_it_is(noun: str, page: str) -> None:
    text = (DOCS / page).with_suffix(".md").read_text(encoding="utf-8")
    assert re.search(rf"(\*\*{noun}\*\*|^The {noun} is )", text, re.MULTILINE)


def test_the_readme_links_to_pages_that_are_there() -> None:
    links = re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_readme_names_only_figures_that_the_page_of_performance_has() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    costs = text.partition("**What it costs.**")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \|$", costs, re.MULTILINE)
    measured = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert rows
    for name, postgresql, sqlite in rows:
        assert re.search(rf"^\| {name} \| {postgresql} .*\| {sqlite} \(", measured, re.MULTILINE), name


def test_the_page_of_jobs_has_the_states_and_their_moves() -> None:
    text = (DOCS / "jobs.md").read_text(encoding="utf-8")
    statuses, _, moves = text.partition("The moves that are allowed")
    assert set(re.findall(r"^\| `(\w+)` \|", statuses, re.MULTILINE)) == set(JobStatus)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", moves, re.MULTILINE)
    found = {source: set(re.findall(r"`(\w+)`", targets)) & set(JobStatus) for source, targets in rows}
    assert found == {source: set(targets) for source, targets in JOB_MOVES.items() if targets}


def test_the_pages_of_attempts_and_of_the_ledger_name_all_states() -> None:
    outcomes = (DOCS / "attempts.md").read_text(encoding="utf-8").partition("| it ends as |")[2]
    assert re.findall(r"^\| `(\w+)` \|", outcomes, re.MULTILINE) == list(AttemptOutcome)
    states = (
        (DOCS / "ledger.md").read_text(encoding="utf-8").partition("The states of a job:")[2].partition(".")[0]
    )
    assert re.findall(r"`(\w+)`", states) == list(JobStatus)
