"""The demo's steps: each is a plain function, and agentq makes it a job."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from celery.signals import worker_init

from agentq import step
from agentq.demo import digest, documents, report
from agentq.demo.model import Model, model_from_environment
from agentq.demo.schemas import Classified, Document, Report, Summary


@step(name="demo.find")
def find(folder: Path | None) -> list[str]:
    """List the documents below a folder; None takes what the installed packages say of themselves."""
    return documents.find(folder)


# Priorities rise along a document's way: one that was begun goes first, so documents get done one by one.
@step(name="demo.read", priority=1)
def read(reference: str) -> Document:
    """Read one document as prose."""
    return documents.read(reference)


@step(name="demo.summarise", priority=4, timeout=300)
def summarise(document: Document) -> Summary:
    """Summarise one document and name its keywords."""
    return digest.summarise(document, model())


@step(name="demo.classify", priority=7, timeout=300)
def classify(summary: Summary) -> Classified:
    """Find the topic of one document."""
    return digest.classify(summary, model())


@step(name="demo.combine", priority=9)
def combine(classified: list[Classified]) -> Report:
    """Make one report of all documents."""
    return report.combine(classified).model_copy(update={"model": model().name})


@step(name="demo.write", priority=9)
def write(made: Report, output: Path) -> Report:
    """Write the report to a file."""
    return report.write(made, output)


@cache
def model() -> Model:
    """Return the model that this process uses."""
    return model_from_environment()


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery's signals have no types
def load_model(**_: Any) -> None:
    """Load the model's libraries once, before the worker's processes are forked."""
    model()
