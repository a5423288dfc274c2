"""What can go wrong in the demo itself, as branches of agentq's one tree of errors."""

from __future__ import annotations

from agentq.exceptions import AgentqError, InvalidArguments


class DemoError(AgentqError):
    """The demo cannot go on; the message says why and what to do."""


class DocumentError(DemoError):
    """A folder or a document cannot be used."""


class FolderError(DocumentError, InvalidArguments):
    """The folder holds nothing to work on: trying again does not mend that."""


class ModelAnswerError(DemoError):
    """The model endpoint answered with something that holds no answer."""
