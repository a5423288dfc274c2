"""Celery's configuration as agentq needs it: what is set, what is refused, what is warned about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery

from agentq.exceptions import ConfigurationError
from agentq.runtime.bridge import redis_transport

DEFAULTS: dict[str, Any] = {
    "worker_prefetch_multiplier": 1,  # a message held by a busy worker waits while others are idle
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # Celery's 100 end the worker after a long outage of the broker
    "broker_channel_error_retry": True,  # RabbitMQ closes the channel of a step that runs for over 30 minutes
    "worker_soft_shutdown_timeout": 10.0,  # SIGQUIT, or SIGTERM remapped to it, lets steps end for so long
}
"""Set under the user's own configuration, so each of them can be chosen otherwise."""


_NO_RESULTS = "agentq.runtime.bridge.no_results:NoResults"
_ANSWER_WITHIN = 1.0
"""Seconds that a broker may take to answer the caller of a start."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the configuration: ``is_error`` stops a worker, else it is a warning."""

    is_error: bool
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def apply(app: Celery) -> None:
    """Put agentq's defaults under the app's own configuration."""
    app.add_defaults(DEFAULTS)
    redis_transport.install()
    app.loader.override_backends = {"disabled": _NO_RESULTS, **app.loader.override_backends}


def require_usable(app: Celery) -> None:
    """Raise ConfigurationError for a setting under which steps would not be durable."""
    for problem in problems(app):
        if problem.is_error:
            raise ConfigurationError(str(problem))


def problems(app: Celery) -> list[Problem]:
    """Return what contradicts agentq in the app's configuration, worst first."""
    conf = app.conf
    found = []
    if conf.task_always_eager:
        found.append(
            Problem(True, "task_always_eager is on, so steps would run without the ledger", "turn it off")
        )
    if "json" not in conf.accept_content:
        found.append(Problem(True, "accept_content does not have 'json', which is what agentq sends", "add it"))
    found += _warnings(conf)
    return found


def _warnings(conf: Any) -> list[Problem]:
    found = []
    unsafe = sorted({"pickle", "yaml", "application/x-python-serialize"} & set(conf.accept_content))
    if unsafe:
        found.append(
            Problem(
                False,
                f"accept_content has {unsafe[0]!r}: a client that can write to the broker can run code",
                "accept only 'json' once the last plain task is moved",
            )
        )
    if conf.worker_prefetch_multiplier != 1:
        found.append(
            Problem(
                False,
                f"worker_prefetch_multiplier is {conf.worker_prefetch_multiplier}: jobs wait behind busy workers",
                "set it to 1",
            )
        )
    if not conf.broker_channel_error_retry:
        found.append(
            Problem(
                False,
                "broker_channel_error_retry is off: a step over RabbitMQ's consumer_timeout ends its worker",
                "leave it on, which is agentq's default",
            )
        )
    return found + _lane_warnings(conf)


def _lane_warnings(conf: Any) -> list[Problem]:
    lanes = (conf.broker_transport_options or {}).get("priority_steps")
    if lanes is None or not _is_redis(conf):
        return []
    if list(lanes) == sorted(lanes) and {*range(10)} <= {*lanes}:
        return []
    what = f"broker_transport_options has priority_steps {list(lanes)}: priorities in one step are alike"
    return [Problem(False, what, "remove it, so that each of the ten priorities has a step of its own")]


def broker_timeouts(conf: Any) -> dict[str, float]:
    """Return the timeouts of connections that publish, where the user has chosen none; only Redis needs them."""
    names = ("socket_timeout", "socket_connect_timeout")
    chosen = conf.broker_transport_options or {}
    return {name: _ANSWER_WITHIN for name in names if name not in chosen} if _is_redis(conf) else {}


def _is_redis(conf: Any) -> bool:
    return str(conf.broker_url or "").startswith(("redis", "valkey", "sentinel"))
