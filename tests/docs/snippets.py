"""The snippets of the README and of all pages, with what the pages say about them.

A new page is covered by itself. What it can say, in comments that its readers do not see:

    <!-- snippets: tested by tests/docs/test_testing.py -->  the page has tests of its own, which name it
    <!-- snippets: run in order -->                          its console blocks are one script, its Python is files
    <!-- snippets: not run, REASON -->                       of the next snippet
    <!-- snippets: given
    CODE -->                                                 runs before the next snippet

Python whose first line is ``# name.py`` is a file, and is compiled. All other Python runs, in the page's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PYTHON = frozenset({"python"})
CONSOLE = frozenset({"console", "sh", "bash", "shell"})
_MARK = re.compile(r"<!-- snippets: (?P<words>.*?)\s*-->", re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.py)\n")


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    line: int
    language: str
    code: str
    given: str = ""
    not_run: str = ""

    @property
    def file(self) -> str | None:
        """The name of the file that it is, or is a part of."""
        found = _FILE.match(self.code)
        return found[1] if found else None


@dataclass
class Page:
    """One page."""

    path: Path
    snippets: list[Snippet] = field(default_factory=list)
    tests: str = ""
    in_order: bool = False

    @property
    def name(self) -> str:
        """What tells it from other pages."""
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    def of(self, languages: frozenset[str]) -> list[Snippet]:
        """The snippets in one of these languages."""
        return [snippet for snippet in self.snippets if snippet.language in languages]


def pages() -> Iterator[Page]:
    """All pages, the README first."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        yield read(path)


def read(path: Path) -> Page:
    """Collect the snippets of a page; raises ValueError for a mark that is none."""
    page = Page(path)
    said: dict[str, str] = {}
    for token in MarkdownIt().parse(path.read_text(encoding="utf-8")):
        if token.type == "html_block" and (found := _MARK.match(token.content)):
            _mark(page, said, found["words"])
        elif token.type == "fence":
            assert token.map is not None
            language = token.info.partition(" ")[0]
            page.snippets.append(Snippet(token.map[0] + 1, language, token.content, **said))
            said.clear()
    return page


def _mark(page: Page, said: dict[str, str], words: str) -> None:
    if words == "run in order":
        page.in_order = True
    elif words.startswith("tested by "):
        page.tests = words.removeprefix("tested by ")
    elif words.startswith("not run, "):
        said["not_run"] = words.removeprefix("not run, ")
    elif words.startswith("given\n"):
        said["given"] = words.removeprefix("given\n")
    else:
        raise ValueError(
            f"{page.name}: snippets cannot be {words!r}; tests/docs/snippets.py tells what can be said"
        )
