"""The values that the demo's steps pass on."""

from __future__ import annotations

from pydantic import BaseModel


class Document(BaseModel):
    """One document as prose: paragraphs without markup, with a blank line between them."""

    reference: str
    title: str
    text: str
    truncated: bool = False


class Summary(BaseModel):
    """A model's summary of one document."""

    reference: str
    title: str
    summary: str
    keywords: list[str]
    truncated: bool = False


class Classified(Summary):
    """A summary with the topic it belongs to."""

    topic: str


class Report(BaseModel):
    """The finished report; ``path`` is set once it is written to a file."""

    markdown: str
    documents: int
    topics: dict[str, int]
    model: str | None = None
    path: str | None = None
