"""The Markdown report: the same documents give the same text, whatever happened on the way."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentq.demo.errors import DemoError
from agentq.demo.schemas import Classified, Report
from agentq.demo.wording import counted

TOP_KEYWORDS = 15

_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^([-+#=~]|\d+(?=[.)]))")


def combine(documents: list[Classified]) -> Report:
    """Make one report of all documents.

    Args:
        documents: in any order; the report sorts them.

    Returns:
        The report, not yet written: contents by topic, the most frequent keywords, a section a document.
    """
    ordered = sorted(documents, key=lambda document: (document.title.casefold(), document.reference))
    counted = Counter(document.topic for document in ordered)
    topics = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
    parts = [_heading(ordered, topics), _contents(ordered, topics), _keywords(ordered)]
    parts += [_section(document) for document in ordered]
    return Report(markdown="\n".join(parts), documents=len(ordered), topics=topics)


def write(report: Report, path: Path) -> Report:
    """Write the report to a file, whole or not at all: a worker may be killed in the middle of it.

    Args:
        report: what `combine` returned.
        path: the file, replaced if it exists; missing folders are made.

    Returns:
        The report with its path.

    Raises:
        DemoError: the file cannot be written there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(report.markdown, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DemoError(f"Cannot write the report to {path}: {error.strerror}; name another file.") from error
    return report.model_copy(update={"path": str(path)})


def _heading(documents: Sequence[Classified], topics: dict[str, int]) -> str:
    return f"# Digest of {counted(len(documents), 'document')}\n\nSorted into {counted(len(topics), 'topic')}.\n"


def _contents(documents: Sequence[Classified], topics: dict[str, int]) -> str:
    lines = ["## Contents by topic", ""]
    for topic, count in topics.items():
        titles = ", ".join(_text(document.title) for document in documents if document.topic == topic)
        lines.append(f"- **{_text(topic)}** ({count}): {titles}")
    return "\n".join([*lines, ""])


def _keywords(documents: Iterable[Classified]) -> str:
    """Count in how many documents each keyword stands, whatever its case."""
    spelled = {keyword.casefold(): keyword for document in documents for keyword in document.keywords}
    counted = Counter(keyword for document in documents for keyword in _distinct(document))
    rows = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:TOP_KEYWORDS]
    table = [f"| {_text(spelled[keyword])} | {count} |" for keyword, count in rows]
    return "\n".join(["## Keywords", "", "| keyword | documents |", "|---|---:|", *table, ""])


def _distinct(document: Classified) -> set[str]:
    return {keyword.casefold() for keyword in document.keywords}


def _section(document: Classified) -> str:
    about = [f"*{_text(document.topic)}*", f"`{document.reference}`"]
    if document.truncated:
        about.append("only its beginning was read")
    lines = [f"## {_text(document.title)}", "", " · ".join(about), ""]
    lines += [_text(document.summary) or "No readable text.", ""]
    if document.keywords:
        lines += ["Keywords: " + ", ".join(map(_text, document.keywords)), ""]
    return "\n".join(lines)


def _text(text: str) -> str:
    """Make text from a document or a model plain Markdown text: one line, no markup of its own."""
    line = _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
    return _BLOCK_START.sub(lambda start: "\\" + start[0] if not start[0].isdigit() else start[0] + "\\", line)
