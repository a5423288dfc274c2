"""The report depends on the documents only, and is written whole or not at all."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from agentq.demo.errors import DemoError
from agentq.demo.report import combine, write
from agentq.demo.schemas import Classified, Report


def digest(title: str = "Title", **fields: Any) -> Classified:
    known = {"reference": f"package:{title}", "summary": "It works.", "keywords": ["work"], "topic": "data"}
    return Classified(title=title, **(known | fields))


def test_the_order_of_the_documents_does_not_matter() -> None:
    documents = [
        digest("b", topic="web", keywords=["Queue", "old"]),
        digest("A", keywords=["queue"]),
        digest("A", reference="file:///a.md", keywords=["QUEUE", "old"]),
        digest("c", topic="text"),
    ]
    reports = {combine(list(order)).model_dump_json() for order in itertools.permutations(documents)}
    assert len(reports) == 1


def test_the_whole_report() -> None:
    report = combine(
        [
            digest("kombu", topic="messaging", summary="Messaging library for Python.", keywords=["Messaging"]),
            digest("celery", topic="messaging", keywords=["messaging", "task queue"], truncated=True),
            digest("odd", topic="other", summary="", keywords=[], reference="file:///tmp/odd.txt"),
        ]
    )
    assert report.documents == 3
    assert report.topics == {"messaging": 2, "other": 1}
    assert report.path is None
    assert (
        report.markdown
        == """\
# Digest of 3 documents

Sorted into 2 topics.

## Contents by topic

- **messaging** (2): celery, kombu
- **other** (1): odd

## Keywords

| keyword | documents |
|---|---:|
| Messaging | 2 |
| task queue | 1 |

## celery

*messaging* · `package:celery` · only its beginning was read

It works.

Keywords: messaging, task queue

## kombu

*messaging* · `package:kombu`

Messaging library for Python.

Keywords: Messaging

## odd

*other* · `file:///tmp/odd.txt`

No readable text.
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "# Not a heading",
        "- not an item",
        "12. not an item",
        "a | b * c _d_ __init__ snake_case `code` [link](x) \\ back",
        "<script>alert(1)</script>",
        "=====",
        "two\n\n## lines",
    ],
)
def test_markup_in_documents_stays_text(text: str) -> None:
    report = combine([digest(title=text, summary=text, keywords=[text], reference="package:x")])
    tokens = MarkdownIt("commonmark").enable("table").parse(report.markdown)
    shown = ["".join(part.content for part in token.children or []) for token in tokens if token.type == "inline"]
    assert shown.count(" ".join(text.split())) == 3  # keyword table, section heading, summary
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h2", "h2"]
    assert not any(token.type == "html_block" for token in tokens)


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.md"
    write(combine([digest("first")]), path)
    report = write(combine([digest("second")]), path)
    assert report.path == str(path)
    assert path.read_text(encoding="utf-8") == report.markdown
    assert "second" in report.markdown
    assert list(path.parent.iterdir()) == [path]


def test_a_report_that_cannot_be_written_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(DemoError, match=r"folder\.md: .*; name another file"):
        write(Report(markdown="", documents=0, topics={}), tmp_path / "folder.md")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.md"]
