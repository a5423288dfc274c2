"""Turn Markdown, reStructuredText or plain text into titled paragraphs of prose.

Code, tables, images, raw HTML and directives are dropped: a summary made of badges is useless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark").enable("table")

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n")
_ADORNMENT = re.compile(r"([^\w\s])\1{2,}\s*")
_NOT_PROSE = re.compile(r"\s|\.\.(\s|$)|__\s|\+[-=]|=+\s|:[^:]+:(\s|$)|>>>|\|\s|--?\w")
_LIST_ITEM = re.compile(r"\n\s*(?:[-*+•]|\(?(?:\d{1,3}|#|[a-z])[.)])[^\S\n]+")
_INLINE_RST = (  # lengths are bounded: an open mark must not be searched to the end of a huge line each time
    (
        re.compile(r":[\w:+.-]{1,60}:`[~!]?([^`<]{1,300}?)(?:\s*<[^>`]{0,300}>)?`"),
        r"\1",
    ),  # :role:`text <target>`
    (re.compile(r"``(.{1,300}?)``"), r"\1"),
    (re.compile(r"`([^`<]{1,300}?)\s*<[^>`]{0,300}>`_{1,2}"), r"\1"),  # `text <link>`_
    (re.compile(r"`([^`]{1,300})`_{0,2}"), r"\1"),
    (re.compile(r"\|[^|\s][^|]{0,100}\|_{0,2}"), ""),  # |substitution|
    (re.compile(r"\[[#*\w]{1,60}\]_"), ""),  # footnote or citation
    (re.compile(r"(\*{1,2})(?=\S)(.{1,300}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<=[^\W_])_{1,2}(?!\w)"), ""),  # reference_
    (re.compile(r"\\\s"), ""),  # escaped space: joins two words
)


class Prose(NamedTuple):
    """The first heading, if there is one, and the paragraphs in order."""

    title: str | None
    paragraphs: list[str]


def extract(text: str, markup: str) -> Prose:
    """Take the prose out of a document.

    Args:
        text: the document, with ``\\n`` as line end.
        markup: ``markdown``, ``rst`` or ``plain``.

    Returns:
        Its first heading and its paragraphs; each paragraph and each list item is one line.
    """
    if markup == "markdown":
        return _from_markdown(text)
    return _from_rst(text) if markup == "rst" else _from_plain(text)


def _from_markdown(text: str) -> Prose:
    headings: list[str] = []
    paragraphs: list[str] = []
    before, in_table = "", False
    for token in _MARKDOWN.parse(text):
        in_table = token.type != "table_close" and (in_table or token.type == "table_open")
        if token.type == "inline" and not in_table and (line := _one_line(_words(token))):
            (headings if before == "heading_open" else paragraphs).append(line)
        before = token.type
    return Prose(headings[0] if headings else None, paragraphs)


def _words(inline: Token) -> str:
    kept = {"text": None, "code_inline": None, "softbreak": " ", "hardbreak": " "}
    return "".join(kept[part.type] or part.content for part in inline.children or [] if part.type in kept)


def _from_rst(text: str) -> Prose:
    title, paragraphs = None, []
    for block in _BLANK_LINES.split(text):
        lines = block.strip("\n").splitlines()
        heading, body = _split_heading(lines)
        title = title or heading
        if body and not _NOT_PROSE.match(body[0]):
            paragraphs += [_clean_rst(item) for item in _items("\n".join(body))]
    return Prose(title, [paragraph for paragraph in paragraphs if _has_words(paragraph)])


def _split_heading(lines: list[str]) -> tuple[str | None, list[str]]:
    marks = [number for number, line in enumerate(lines[:3]) if _ADORNMENT.fullmatch(line)]
    if not marks:
        return None, lines
    heading = next((line for line in lines[: marks[-1]] if not _ADORNMENT.fullmatch(line)), None)
    return heading and _clean_rst(heading), lines[marks[-1] + 1 :]


def _items(block: str) -> Iterator[str]:
    return (item for item in _LIST_ITEM.split("\n" + block) if item.strip())


def _clean_rst(text: str) -> str:
    text = _one_line(text)
    for pattern, replacement in _INLINE_RST:
        text = pattern.sub(replacement, text)
    return _one_line(text.removesuffix(":") if text.endswith("::") else text)


def _from_plain(text: str) -> Prose:
    lines = (_one_line(item) for block in _BLANK_LINES.split(text) for item in _items(block))
    return Prose(None, [line for line in lines if _has_words(line)])


def _has_words(line: str) -> bool:
    return any(map(str.isalnum, line))


def _one_line(text: str) -> str:
    return " ".join(text.split())
