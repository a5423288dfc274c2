"""A local HTTP server with a quota, as providers of models have one: so many calls at once, and in a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SETTLED = 10
"""Calls until all tenants stand in the line, and a caretaker paces it."""
LEAST_USED, LEAST_SHARE, MOST_SHARE = 0.95, 0.8, 1.25
"""The share of the rate that is used, and of a tenant's turns that it gets, while all of them wait."""


@dataclass(frozen=True)
class Quota:
    """What a provider allows.

    Attributes:
        at_once: calls at once.
        limit: calls of any period.
        per: seconds of the period.
        took: seconds that a call takes.
    """

    at_once: int
    limit: int
    per: float
    took: float


class QuotaServer(ThreadingHTTPServer):
    """Answers 200 within its quota, and 429 with ``Retry-After`` above; a call's path is its tenant."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, quota: Quota) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.quota = quota
        self.served: list[tuple[float, str]] = []
        """When each call began that was served, and its tenant."""
        self.refused: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its address, with the slash that a tenant follows."""
        return f"http://127.0.0.1:{self.server_port}/"

    def begin(self, tenant: str) -> bool:
        """Begin a call of *tenant*; False where the quota is used up."""
        with self._lock:
            now = time.monotonic()
            recent = sum(began > now - self.quota.per for began, _ in self.served[-self.quota.limit :])
            if recent >= self.quota.limit or self._at_once >= self.quota.at_once:
                self.refused.append(now)
                return False
            self.served.append((now, tenant))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return True

    def end(self) -> None:
        """End a call that was begun."""
        with self._lock:
            self._at_once -= 1

    @property
    def used(self) -> float:
        """The share of its rate that was used while jobs waited, from a call soon after the first to the last."""
        times = [began for began, _ in self.served][SETTLED:]
        return (len(times) - 1) / (times[-1] - times[0]) * self.quota.per / self.quota.limit

    def shares(self, tenants: Collection[str], rounds: int) -> dict[str, float]:
        """Return the calls of each tenant in so many rounds of turns, of the fair number of them."""
        calls = Counter(tenant for _, tenant in self.served[SETTLED : SETTLED + rounds * len(tenants)])
        return {tenant: calls[tenant] / rounds for tenant in tenants}

    def broken_promises(self, tenants: Collection[str], rounds: int) -> list[str]:
        """Return what does not hold of calls by jobs with the limits of the quota, while *tenants* wait."""
        shares = self.shares(tenants, rounds)
        unfair = {tenant: share for tenant, share in shares.items() if not LEAST_SHARE <= share <= MOST_SHARE}
        return [
            *([f"{len(self.refused)} calls were refused"] if self.refused else []),
            *([f"{self.used:.1%} of the rate was used"] if self.used < LEAST_USED else []),
            *(f"tenant {tenant} had {share:.2f} of its share" for tenant, share in unfair.items()),
        ]


class _Handler(BaseHTTPRequestHandler):
    server: QuotaServer

    def do_GET(self) -> None:
        is_served = self.server.begin(self.path.strip("/"))
        if is_served:
            time.sleep(self.server.quota.took)
            self.server.end()
        self.send_response_only(200 if is_served else 429)
        if not is_served:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Calls are counted, not printed."""


@contextmanager
def quota_server(quota: Quota) -> Iterator[QuotaServer]:
    """Yield a server that answers on a port of its own."""
    with QuotaServer(quota) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
