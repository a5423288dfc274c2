"""Tests of workflows: pytest's fixtures ``agentq_inline`` and ``agentq_worker``, and what tests ask and assert.

The fixtures come with the package, without configuration. Nothing here imports Celery or a database before a test
asks for a fixture.
"""

from agentq.testing.assertions import assert_dead_letter, assert_succeeded, assert_waiting_for
from agentq.testing.contexts import make_context

__all__ = ["assert_dead_letter", "assert_succeeded", "assert_waiting_for", "make_context"]
