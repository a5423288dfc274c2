"""The text of a document is the text that a person would read aloud."""

import pytest

from agentq.demo.prose import extract

MARKDOWN = """\
<p align="center"><img src="logo.png"></p>

# The *title* of `it`

[![build](https://badge)](https://ci) ![alt](x.png)

A paragraph with **bold**, `code`,
[a link](https://example.org) and <b>HTML</b>.

- first item
- second item

| a | table |
|---|-------|
| 1 | 2     |

```python
print("code")
```

> A quotation.
"""

RST = """\
=========
The title
=========

.. image:: https://badge
    :target: https://ci

|badge| A paragraph with **bold**, *emphasis
over lines*, ``code``, :class:`~a.b.Role`,
`a link <https://example.org>`_ and a reference_.

:Author: Nobody

Part
----

* first item
* second item
  goes on

Example::

    print("code")

====  =====
a     table
====  =====

.. _target: https://example.org
"""


def test_markdown() -> None:
    prose = extract(MARKDOWN, "markdown")
    assert prose.title == "The title of it"
    assert prose.paragraphs == [
        "A paragraph with bold, code, a link and HTML.",
        "first item",
        "second item",
        "A quotation.",
    ]


def test_restructured_text() -> None:
    prose = extract(RST, "rst")
    assert prose.title == "The title"
    assert prose.paragraphs == [
        "A paragraph with bold, emphasis over lines, code, a.b.Role, a link and a reference.",
        "first item",
        "second item goes on",
        "Example:",
    ]


def test_plain_text_keeps_indentation_and_apparent_markup() -> None:
    prose = extract("  One line\n  goes on.\n\n---\n\n  1. *first*\n  2. second\n", "plain")
    assert prose == (None, ["One line goes on.", "*first*", "second"])


@pytest.mark.parametrize("markup", ["markdown", "rst", "plain"])
def test_an_empty_document_gives_no_prose(markup: str) -> None:
    assert extract(" \n\n\t\n", markup) == (None, [])


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize("markup", ["markdown", "rst", "plain"])
@pytest.mark.parametrize("piece", ["*a ", "**a ", ":a", "`a <", "|a", ":a:`~", "[", "\n ", "- "])
def test_no_document_keeps_the_reader_busy_for_long(piece: str, markup: str) -> None:
    extract(piece * (100_000 // len(piece)), markup)
