"""The private server of one folder, as its users see it: start or join it, use its URLs, leave."""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import URL

from agentq.embedded import keeper
from agentq.embedded.program import REMEDY, find_server
from agentq.exceptions import EmbeddedServerError

START_SECONDS = 10
LOG_TAIL_LINES = 20
SOCKET_PATH_BYTES = 100  # the kernel's limit is 103 on macOS, 107 on Linux


class Embedded:
    """A SQLite ledger and a private Valkey or Redis server, shared by all processes that use one folder.

    The first user starts the server, and it ends with its last user, however that one ends: a user is
    who holds the folder's ``users.lock``. Forked children hold it together with their parent.

    Args:
        folder: where ledger, socket, locks and log live; ``start`` makes it, closed to other people.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._users_lock: int | None = None

    @property
    def broker_url(self) -> str:
        """The server's address as Celery takes it."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host=0"

    @property
    def ledger_url(self) -> str:
        """The ledger's address as SQLAlchemy takes it."""
        return URL.create("sqlite", database=str(self.folder / "ledger.db")).render_as_string()

    @property
    def socket_path(self) -> Path:
        """The server's socket: in the folder, or in the temporary folder where the path would be too long."""
        path = self.folder / "server.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"agentq-{os.getuid()}", f"{name}.sock")

    def start(self) -> None:
        """Start the server or join the running one; return when it answers. It may be called again any time.

        Raises:
            EmbeddedServerError: there is no server program, the folder is not usable, or the server did not
                answer within 10 seconds.
        """
        if sys.platform == "win32":
            raise EmbeddedServerError("the private server does not run on Windows. Set a broker URL.")
        try:
            self._make_folders()
            self._await_server()
        except OSError as error:
            self.stop()
            raise EmbeddedServerError(f"cannot use the folder {self.folder}: {error}. {REMEDY}") from error
        except EmbeddedServerError:
            self.stop()
            raise

    def stop(self) -> None:
        """Leave; the server ends with its last user. The end of the process does the same."""
        if self._users_lock is not None:
            # Closed, not unlocked: a forked child must not take the lock from its parent, nor the reverse.
            os.close(self._users_lock)
            self._users_lock = None

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        if self.socket_path.parent != self.folder:
            _make_private(self.socket_path.parent)

    def _await_server(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (self._join() and self._has_keeper() and self._answers()):
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {START_SECONDS} seconds")
            time.sleep(0.02)

    def _join(self) -> bool:
        """Become a user of the folder; false while a keeper is shutting its server down."""
        if self._users_lock is not None:
            return True
        lock = keeper.open_lock(self.folder, keeper.USERS_LOCK)
        if keeper.try_lock(lock, shared=True):
            self._users_lock = lock
            return True
        os.close(lock)
        return False

    def _has_keeper(self) -> bool:
        """Say if the folder has a keeper; start one if it has none."""
        lock = keeper.open_lock(self.folder, keeper.KEEPER_LOCK)
        try:
            if not keeper.try_lock(lock, shared=True):
                return True
        finally:
            os.close(lock)
        self._start_keeper()
        return False  # two may have started one at once, and each hindered the other: look again

    def _start_keeper(self) -> None:
        # By path, not with -m: importing the agentq package would take longer than all the rest.
        script = [sys.executable, "-I", "-S", keeper.__file__]
        arguments = [str(self.folder), str(self.socket_path), find_server()]
        with self._log.open("ab") as log:
            started = subprocess.run(
                script + arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=False
            )
        if started.returncode != 0:
            raise self._failure("could not be started")

    def _answers(self) -> bool:
        path, once = str(self.socket_path), Retry(NoBackoff(), 0)
        with Redis(unix_socket_path=path, socket_timeout=1, retry=once) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _failure(self, what: str) -> EmbeddedServerError:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        tail = "\n".join(lines[-LOG_TAIL_LINES:])
        return EmbeddedServerError(
            f"the private server in {self.folder} {what}. {REMEDY} The end of {self._log}:\n{tail}"
        )


def _make_private(folder: Path) -> None:
    """Make a folder where others may write too, and refuse one that another user made or can open."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EmbeddedServerError(
            f"{folder} should be a folder that only you can open, but is not. Remove it, or set TMPDIR to "
            "another place, or set a broker URL."
        )
