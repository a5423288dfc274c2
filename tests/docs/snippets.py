"""The snippets of the README and of all pages, with what the pages say about them.

A new page is covered by itself. In a folder of its own its commands and its SQL are typed, in the page's order:
each command must succeed, or get ready if it is one that does not end. Its Python runs in a program of its own.
A snippet whose first line is ``# name.py`` is a file of the folder instead, and a ``text`` is what was printed
before it. What a page can say besides, in comments that its readers do not see:

    <!-- snippets: in PLACE -->            its folder begins as this one of the checkout, or with the files of this
                                           page; by default as tests/docs/project
    <!-- snippets: tested by FILE -->      its files are run by these tests, which name the page
    <!-- snippets: given
    CODE -->                               comes before the next snippet, in its language
    <!-- snippets: not run, REASON -->     of the next snippet

A ``diff`` of Python is a snippet of its new side. Its old side must run on Celery alone, and print the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "python"
DIFF = "diff"
COMMANDS = ("console", "sh", "bash", "shell")
SQL = "sql"
PRINTED = "text"
_SPHINX = "{"  # of a directive such as {toctree}: tests/docs/test_site.py makes the site
_MARK = re.compile(r"<!-- snippets: (?P<words>.*?)\s*-->", re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    line: int
    language: str
    code: str
    given: str = ""
    not_run: str = ""
    before: str = ""
    """Of a diff, the code that it begins with."""

    @property
    def file(self) -> str | None:
        """The name of the file that it is, or is a part of."""
        found = _FILE.match(self.code)
        return found[1] if found else None

    @property
    def is_typed(self) -> bool:
        """True if a person at a terminal types it."""
        return self.language in (*COMMANDS, SQL) and not self.not_run

    @property
    def is_program(self) -> bool:
        """True if it is Python that runs by itself."""
        return self.language == PYTHON and not self.file and not self.not_run


@dataclass
class Page:
    """One page."""

    path: Path
    snippets: list[Snippet] = field(default_factory=list)
    tests: str = ""
    place: str = "tests/docs/project"

    @property
    def name(self) -> str:
        """The name that distinguishes it from other pages."""
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    @property
    def files(self) -> dict[str, str]:
        """The files that it shows, by name; what it shows in parts, one after the other."""
        found: defaultdict[str, str] = defaultdict(str)
        for snippet in self.snippets:
            if snippet.file:
                found[snippet.file] += snippet.code
        return dict(found)

    @property
    def is_typed(self) -> bool:
        """True if there is anything to type."""
        return any(snippet.is_typed for snippet in self.snippets)

    def runs(self, snippet: Snippet) -> bool:
        """Say whether a snippet is run by something."""
        if snippet.file:
            return self.is_typed or bool(self.tests)
        if snippet.language == PRINTED:
            return any(other.is_typed and other.line < snippet.line for other in self.snippets)
        return snippet.is_typed or snippet.is_program or snippet.language.startswith(_SPHINX)


def pages() -> Iterator[Page]:
    """All pages, the README first."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        yield read(path)


def read(path: Path, ports: Mapping[str, str] | None = None) -> Page:
    """Collect the snippets of a page, with *ports* in place of others; raises ValueError for an unknown mark."""
    page = Page(path)
    said: dict[str, str] = {}
    text = path.read_text(encoding="utf-8")
    for port, other in (ports or {}).items():
        text = re.sub(rf"\b{port}\b", other, text)
    for token in MarkdownIt().parse(text):
        if token.type == "html_block" and (found := _MARK.match(token.content)):
            _mark(page, said, found["words"])
        elif token.type == "fence":
            assert token.map is not None
            language = token.info.partition(" ")[0]
            page.snippets.append(_snippet(token.map[0] + 1, language, token.content, said))
            said.clear()
    return page


def _snippet(line: int, language: str, code: str, said: dict[str, str]) -> Snippet:
    if language != DIFF:
        return Snippet(line, language, code, **said)
    before, after = (
        "".join(text[1:] or "\n" for text in code.splitlines(keepends=True) if text[0] != left_out)
        for left_out in "+-"
    )
    return Snippet(line, PYTHON, after, before=before, **said)


def _mark(page: Page, said: dict[str, str], words: str) -> None:
    if words.startswith("in "):
        page.place = words.removeprefix("in ")
    elif words.startswith("tested by "):
        page.tests = words.removeprefix("tested by ")
    elif words.startswith("not run, "):
        said["not_run"] = words.removeprefix("not run, ")
    elif words.startswith("given\n"):
        said["given"] = words.removeprefix("given\n")
    else:
        raise ValueError(
            f"{page.name}: snippets cannot be {words!r}; tests/docs/snippets.py lists what can be said"
        )
