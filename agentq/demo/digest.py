"""The demo's work on one document: a summary, then its topic."""

from __future__ import annotations

from agentq.demo.model import OTHER, Model, Topics
from agentq.demo.schemas import Classified, Document, Summary

MAX_KEYWORD = 60  # characters; anything longer is no word

TOPICS: Topics = {
    "messaging": "queue broker message task worker amqp rabbitmq redis valkey celery job schedule publish",
    "web": "web http url html browser request response website websocket tls certificate oauth",
    "data": "data database sql json yaml xml schema array graph validate serialize timezone datetime country",
    "testing": "test assert fixture coverage pytest hypothesis debug lint linter",
    "typing": "type typing mypy annotation stub introspection",
    "packaging": "pip build wheel install uninstall distribution backend pypi setuptools",
    "configuration": "config configuration settings toml ini environment env variable",
    "text": "text unicode string regex encode character word sentence language markdown syntax template",
    "terminal": "terminal command cli shell prompt color console progress option argument",
    "concurrency": "async asyncio concurrency thread multiprocess parallel coroutine pool lock promise",
}


def summarise(document: Document, model: Model) -> Summary:
    """Summarise one document and name its keywords; a document without text gets neither."""
    keywords = model.keywords(document.text) if document.text else []
    return Summary(
        reference=document.reference,
        title=document.title,
        summary=model.summarise(document.text) if document.text else "",
        keywords=[keyword for keyword in keywords if len(keyword) <= MAX_KEYWORD],
        truncated=document.truncated,
    )


def classify(summary: Summary, model: Model) -> Classified:
    """Find the topic of one document from its title, keywords and summary."""
    about = ". ".join([summary.title, *summary.keywords, summary.summary])
    topic = model.classify(about, TOPICS) if summary.summary else OTHER
    return Classified(**summary.model_dump(), topic=topic)
