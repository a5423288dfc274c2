"""The errors of the demo itself, as branches of agentq's one tree of errors."""

from __future__ import annotations

from agentq.exceptions import AgentqError, InvalidArguments


class DemoError(AgentqError):
    """The demo cannot go on; the message says why and what to do."""


class DocumentError(DemoError):
    """A folder or a document cannot be used."""


class FolderError(DocumentError, InvalidArguments):
    """The folder has no documents to work on: another try does not fix that."""


class ModelAnswerError(DemoError):
    """The model endpoint answered with something that holds no answer."""
