"""Fixtures that the tests of the sweep share."""

from tests.sweep.command import say

__all__ = ["say"]
