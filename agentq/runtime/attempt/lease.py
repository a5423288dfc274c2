"""The worker's lease, shared between its main process, which renews it, and the processes that run steps.

The time of the lease is kept by the machine's monotonic clock: after a renewal that was sent at *t*, the worker
may claim until *t* plus the lease, less a margin. A worker that was frozen, or cannot reach the ledger, finds by
itself that its lease is not valid any more, before another worker may take its jobs. Where the ledger is away for
all, no worker may take them: its steps go on, and only claims wait.
"""

from __future__ import annotations

import glob
import hashlib
import mmap
import os
import struct
import tempfile
import time
import uuid

from agentq.exceptions import ConfigurationError

_SIZE, _AWAY, _ENDING, _CUT_OFF = 11, 8, 9, 10
"""Of the memory: its size, and the places of flags behind the time until which the lease is valid."""
_VARIABLE = "AGENTQ_WORKER"
_MARGIN = 0.1
"""Share of the lease that is not used: for clocks and for the way to the ledger."""


class Lease:
    """The worker's id and the time until which it may claim, in memory that forked and spawned children share."""

    def __init__(self, path: str, worker_id: uuid.UUID, seconds: float) -> None:
        self.path = path
        self.worker_id = worker_id
        self.seconds = seconds
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)

    @classmethod
    def open(cls, seconds: float) -> Lease:
        """Make the lease of a new worker and let this process's children find it."""
        descriptor, path = tempfile.mkstemp(prefix="agentq-lease-")
        os.write(descriptor, bytes(_SIZE))
        os.close(descriptor)
        lease = cls(path, uuid.uuid4(), seconds)
        os.environ[_VARIABLE] = f"{lease.worker_id}:{seconds}:{path}"
        _current[:] = [lease]
        return lease

    def renewed(self, sent_at: float) -> None:
        """Note a renewal that was sent at *sent_at*, by the monotonic clock."""
        valid_until = sent_at + self.seconds * (1 - _MARGIN)
        self._memory[:8] = struct.pack("d", valid_until)
        self._memory[_AWAY] = self._memory[_CUT_OFF] = 0

    def note_not_renewed(self, is_away: bool) -> None:
        """Note, until the next renewal, that the last one failed.

        *is_away* says that the ledger itself is away: no other worker may take this one's jobs then.
        """
        self._memory[_CUT_OFF] = 1
        if is_away:
            self._memory[_AWAY] = 1

    @property
    def is_cut_off(self) -> bool:
        """True if the last renewal failed, as the worker's main process noted."""
        return bool(self._memory[_CUT_OFF])

    @property
    def is_away(self) -> bool:
        """True if the ledger itself is down, as this worker knows."""
        return bool(self._memory[_AWAY])

    def note_ending(self) -> None:
        """Note that the worker is being stopped: what waits for a valid lease waits no longer."""
        self._memory[_ENDING] = 1

    @property
    def is_ending(self) -> bool:
        """True if the worker is being stopped."""
        return bool(self._memory[_ENDING])

    @property
    def is_closed(self) -> bool:
        """True if the worker has signed off."""
        return self.is_ending and not self.was_valid

    @property
    def was_valid(self) -> bool:
        """True if it was ever renewed."""
        return self._memory[:8] != bytes(8)

    def valid_for(self) -> float:
        """Return for how many seconds the lease is valid; negative where it is over."""
        return float(struct.unpack("d", self._memory[:8])[0]) - time.monotonic()

    def wait_until_valid(self) -> uuid.UUID | None:
        """Return the worker's id as soon as it may claim, however late; None where it is stopped first."""
        while self.valid_for() <= 0:
            if self.is_ending:
                return None
            time.sleep(0.05)
        return self.worker_id

    def is_first_to_log(self, what: str) -> bool:
        """Say whether no process of this worker asked this of *what* before, so that its log says it once."""
        mark = f"{self.path}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def close(self) -> None:
        """Forget the lease: no child may claim any more."""
        self.note_ending()
        for mark in glob.glob(f"{glob.escape(self.path)}-*"):
            os.unlink(mark)
        self._memory[:8] = bytes(8)
        os.environ.pop(_VARIABLE, None)
        _current.clear()
        if os.path.exists(self.path):
            os.unlink(self.path)


_current: list[Lease] = []
"""The one lease of this process, kept from when it is first known: a step may empty the environment."""


def current_lease() -> Lease:
    """Return the lease of the worker that this process belongs to; ConfigurationError outside a worker."""
    if not _current:
        text = os.environ.get(_VARIABLE)
        if text is None:
            raise ConfigurationError(
                "this process runs steps but has no caretaker; is AgentQ(app) set up where the worker starts?"
            )
        worker_id, seconds, path = text.split(":", 2)
        _current.append(Lease(path, uuid.UUID(worker_id), float(seconds)))
    return _current[0]
