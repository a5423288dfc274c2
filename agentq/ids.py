"""Time-ordered ids (UUID version 7, RFC 9562), so that rows and lists sort by age without another column."""

from __future__ import annotations

import random
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_id() -> uuid.UUID:
    """Return a new id; ids made by one process ascend strictly, also within one millisecond."""
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of sub-millisecond counter, read as one number.
        _last = max(_last + 1, (time.time_ns() // 1_000_000) << 12)
        stamp = _last
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random.getrandbits(62)
    return uuid.UUID(int=value)
