"""Settings, from most to least binding: ``AgentQ(app, …)``, ``app.conf.agentq_*``, ``AGENTQ_*``, defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from agentq.exceptions import ConfigurationError, nearest
from agentq.redaction import clean
from agentq.states import MOST_COUNTED


class Settings(BaseSettings):
    """All settings. Each field is ``agentq_<name>`` in Celery's configuration, ``AGENTQ_<NAME>`` outside."""

    model_config = SettingsConfigDict(env_prefix="AGENTQ_", frozen=True, extra="forbid")

    ledger: str | None = None
    """URL of the ledger; None for a SQLite file in *folder*."""
    folder: Path = Path(".agentq")
    """The folder of the embedded ledger and broker."""
    tenant: str = Field("default", min_length=1, max_length=255)
    """The tenant of workflows that are started without one."""
    max_open: int | None = Field(None, ge=0, le=MOST_COUNTED)
    """The number of open workflows of each tenant over which starts are refused; None for none."""
    lease: float = Field(20.0, ge=1, le=600)
    """Seconds for which a worker owns its jobs without renewing; it renews every third of that."""
    due_interval: float = Field(0.5, gt=0, le=60)
    """Seconds between two queries for jobs that are due."""
    redispatch_after: float = Field(5.0, ge=0.1, le=3600)
    """Seconds after which an unclaimed queued job is checked: is its message lost?"""
    cancel_grace: float = Field(10.0, ge=0, le=3600)
    """Seconds that a step whose job was cancelled may go on, to see ``ctx.cancelled``, before it is stopped."""
    release_grace: float = Field(3600.0, ge=0, le=30 * 86_400)
    """Seconds for which a job of another release is left for a worker that takes its arguments."""
    dead_letter_queue: str = Field("dead_letter", min_length=1, max_length=64)
    """The queue of the task that records dead letters and calls their handlers."""
    consume_dead_letters: bool = True
    """True if every worker consumes that queue, whatever its ``-Q`` says."""
    max_replays: int = Field(10, ge=0, le=100_000)
    """The number of replays of one job, unless a person insists."""
    ledger_timeout: float = Field(10.0, gt=0, le=600)
    """Seconds that a ledger statement, a lock or a connection may take."""
    flower_url: str | None = Field(None, pattern=r"^https?://")
    """The address of Flower, with its prefix: jobs are then shown with the address of their page there."""
    ordered: dict[
        Annotated[str, Field(min_length=1, max_length=249)], Annotated[int, Field(ge=1, le=1_000_000)]
    ] = Field({})
    """The queues that the ledger orders, each with the number of its jobs that are in the broker at most."""
    limits: Path | None = None
    """The file with numbers of limits that hold in place of those in code; None for no file."""
    max_value_bytes: int = Field(262_144, ge=1_024)
    """Size limit of one step's arguments, and of one result, in bytes of JSON."""


def load(explicit: Mapping[str, Any], configured: Mapping[str, Any]) -> Settings:
    """Return the settings; *configured* are the ``agentq_*`` keys of Celery's configuration, without prefix.

    Raises ConfigurationError naming the setting that is unknown or does not fit.
    """
    given = {**configured, **{name: value for name, value in explicit.items() if value is not None}}
    unknown = sorted(set(given) - set(Settings.model_fields))
    if unknown:
        hint = nearest(unknown[0], Settings.model_fields)
        raise ConfigurationError(f"there is no setting agentq_{unknown[0]}.{hint}")
    try:
        return Settings(**given)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(
            f"the setting agentq_{name} (or AGENTQ_{name.upper()}) is wrong: {clean(fault['msg'], 200)}"
        ) from None
