"""Summaries, keywords and topics come from a model: offline by default, or any OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

Topics = Mapping[str, str]
"""The topics to choose from, each with words, separated by blanks, that speak for it."""

OTHER = "other"


class Model(Protocol):
    """The model that the demo's steps ask. Texts are prose; answers are plain text without line breaks."""

    name: str
    is_repeatable: bool
    """True if it gives the same answer to the same question."""

    def summarise(self, text: str, sentences: int = 3) -> str:
        """Return the subject of the text in a bounded number of sentences."""

    def keywords(self, text: str, count: int = 6) -> list[str]:
        """Return a bounded number of words or short phrases for the text, best first."""

    def classify(self, text: str, topics: Topics) -> str:
        """Choose the topic of the text; ``other`` when none fits."""


def model_from_environment() -> Model:
    """Choose the model by OPENAI_BASE_URL.

    An API key alone does not choose the endpoint: it may lie in an environment for other programs, and the
    demo must not spend a user's money unasked.

    Returns:
        The endpoint's model when OPENAI_BASE_URL is set, with OPENAI_API_KEY and OPENAI_MODEL; else the
        offline one.
    """
    # Late imports: the offline libraries and the client take about a second each.
    if base_url := os.environ.get("OPENAI_BASE_URL"):
        from agentq.demo.openai_model import DEFAULT_MODEL, OpenAIModel

        api_key = os.environ.get("OPENAI_API_KEY") or "none"  # local servers ask for no key, the client does
        return OpenAIModel(base_url, api_key, os.environ.get("OPENAI_MODEL") or DEFAULT_MODEL)
    from agentq.demo.offline_model import OfflineModel

    return OfflineModel()
