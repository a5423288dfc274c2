"""Without Flask there is nothing to test."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("flask") and find_spec("flask_sqlalchemy") else ["test_*.py"]
