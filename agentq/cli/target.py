"""What a command is about: which Celery app, which ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentq.exceptions import ConfigurationError, LedgerUnavailable

if TYPE_CHECKING:
    from celery import Celery

    from agentq.ledger.session import Ledger
    from agentq.runtime.app import AgentQ

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "agentq.cli.target"


class Target:
    """The app and the ledger of one command line, looked for when they are asked for.

    The imports in here are late on purpose: ``--help`` needs none of them, a command that only reads the ledger
    does without Celery.
    """

    def __init__(self, celery_app: Celery | None = None) -> None:
        self.app_name: str | None = None
        self.ledger_url: str | None = None
        self._celery_app = celery_app

    @cached_property
    def agentq(self) -> AgentQ | None:
        """The app's ``AgentQ``, None where no app is named.

        Raises ConfigurationError for an app that cannot be loaded or has no ``AgentQ``.
        """
        name = self.app_name or (None if self._celery_app else os.environ.get("CELERY_APP"))
        if name is None and self._celery_app is None:
            return None
        from agentq.cli import application
        from agentq.runtime.find import agentq_of

        return agentq_of(application.load(name) if name else self._celery_app)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, not looked into: from ``--ledger``, the app, the environment, or the current folder."""
        from agentq import settings as settings_module
        from agentq.ledger.session import Ledger

        if self.ledger_url is None and self.agentq is not None:
            return self.agentq.ledger
        settings = settings_module.load({"ledger": self.ledger_url}, {})
        url = settings.ledger or _embedded_url(settings.folder)
        return Ledger(url, timeout=settings.ledger_timeout)

    def existing_ledger(self) -> Ledger:
        """Return the ledger; raises LedgerUnavailable for a SQLite file that is not there (nor makes it)."""
        path = sqlite_file(self.ledger)
        if path is not None and not path.exists():
            raise LedgerUnavailable(f"there is no ledger at {path}; create it with: agentq db upgrade")
        return self.ledger

    def current_ledger(self) -> Ledger:
        """Return the ledger; raises SchemaMismatch where its schema is not the one of this code."""
        ledger = self.existing_ledger()
        ledger.check_schema()
        return ledger


def sqlite_file(ledger: Ledger) -> Path | None:
    """Return the file that a SQLite ledger lives in, None for any other ledger."""
    return None if ledger.is_postgresql else Path(ledger.url.database or "")


def pass_target(function: F) -> F:
    """Add ``-A`` and ``--ledger`` to a command and give it its `Target` as first argument."""
    return target_options(click.decorators.pass_meta_key(_KEY)(function))  # type: ignore[type-var]


def target_options(function: F) -> F:
    """Add ``-A`` and ``--ledger``; they may stand before a command's name as well as after it."""
    app = click.option("-A", "--app", "app_name", metavar="MODULE", expose_value=False, callback=_note,
                       help="The Celery app, as for celery -A; also CELERY_APP.")
    ledger = click.option("--ledger", "ledger_url", metavar="URL", expose_value=False, callback=_note,
                          help="The ledger's URL; default: the app's, else AGENTQ_LEDGER, else ./.agentq.")
    return app(ledger(function))


def _note(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if _KEY not in ctx.meta:
        ctx.meta[_KEY] = Target(getattr(ctx.obj, "app", None))  # as a command of Celery's, ctx.obj has its app
    if value is not None:
        setattr(ctx.meta[_KEY], str(param.name), value)


def _embedded_url(folder: Path) -> str:
    path = folder / "ledger.db"
    if not path.exists():
        raise ConfigurationError(
            f"no ledger is named, and there is none at {path}; give --ledger URL, or -A MODULE for the ledger of "
            "a Celery app, or set AGENTQ_LEDGER"
        )
    return f"sqlite:///{path}"
