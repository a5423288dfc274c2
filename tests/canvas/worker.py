"""The modules that the worker of the parity test loads: the test project, and the cases' functions as steps."""

from tests.canvas import steps  # noqa: F401
from tests.support.project import app

__all__ = ["app"]
