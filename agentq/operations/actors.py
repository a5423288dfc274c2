"""Who does something, where nobody says."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Return the name of the process's user, or "unknown" where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "unknown"
