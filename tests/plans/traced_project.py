"""The project of the tests' workers, whose connections to SQLite note what they run."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Pool

from tests.plans.trace import note_statements
from tests.support.project import app

__all__ = ["app"]

note_statements(Pool, Path(os.environ["AGENTQ_TEST_TRACE"]))
