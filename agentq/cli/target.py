"""The target of a command: a Celery app and a ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentq.exceptions import ConfigurationError, LedgerUnavailable

if TYPE_CHECKING:
    from celery import Celery

    from agentq.ledger.db.session import Ledger
    from agentq.runtime.app import AgentQ
    from agentq.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "agentq.cli.target"


@dataclass(frozen=True, slots=True)
class GivenApp:
    """The app of a program that has these commands as its own; the object of their click context."""

    app: Celery | str
    name: str | None = None
    """The name by which ``celery -A`` finds it in another process; None where it is a module's attribute."""


class Target:
    """The app and the ledger of one command line, found at first use.

    The imports in here are late on purpose: ``--help`` needs none of them, a command that only reads the ledger
    does without Celery.
    """

    def __init__(self, app: str | Celery | None, name: str | None = None) -> None:
        self.app = app
        self.name = name
        self.ledger_url: str | None = None

    @cached_property
    def agentq(self) -> AgentQ | None:
        """The app's ``AgentQ``, None where no app is named.

        Raises ConfigurationError for an app that cannot be loaded or has no ``AgentQ``.
        """
        if self.app is None:
            return None
        from agentq.cli import application
        from agentq.runtime.api import agentq_of

        return agentq_of(application.load(self.app))

    @cached_property
    def settings(self) -> Settings:
        """The settings of the app, or of the environment where no app is named."""
        from agentq import settings

        return settings.load({}, {}) if self.agentq is None else self.agentq.settings

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, not opened: from ``--ledger``, the app, the environment, or the current folder."""
        from agentq import settings as settings_module
        from agentq.ledger.db.session import Ledger

        if self.ledger_url is None and self.agentq is not None:
            ledger = self.agentq.ledger
        else:
            settings = settings_module.load({"ledger": self.ledger_url}, {})
            ledger = Ledger(settings.ledger or _embedded_url(settings.folder), timeout=settings.ledger_timeout)
        click.get_current_context().call_on_close(ledger.close)
        return ledger

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


def pass_target(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``-A`` and ``--ledger`` to a command and give it its `Target` as first argument."""
    return target_options(given_target(function))


def given_target(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command its `Target` as first argument."""
    return click.decorators.pass_meta_key(_KEY, doc_description="the target")(function)


def target_options(function: F) -> F:
    """Add ``-A`` and ``--ledger``; they may stand before a command's name as well as after it."""
    ledger = _option(
        "--ledger", "ledger_url", "URL", "The ledger; default: the app's, else AGENTQ_LEDGER, else ./.agentq."
    )
    return app_option(ledger(function))


def app_option(function: F) -> F:
    """Add ``-A``."""
    return _option("-A", "--app", "app", "MODULE", "The Celery app, as for celery -A; also CELERY_APP.")(function)


def _option(*names: str) -> Callable[[F], F]:
    *declared, metavar, help_text = names
    return click.option(*declared, metavar=metavar, help=help_text, expose_value=False, callback=_note)


def _note(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if _KEY not in ctx.meta:
        ctx.meta[_KEY] = _target(ctx)
    if value is not None:
        setattr(ctx.meta[_KEY], str(param.name), value)


def _target(ctx: click.Context) -> Target:
    if isinstance(ctx.obj, GivenApp):
        return Target(ctx.obj.app, ctx.obj.name)
    return Target(ctx.find_root().params.get("app") or os.environ.get("CELERY_APP"))  # as celery -A proj agentq …


def _embedded_url(folder: Path) -> str:
    path = folder.resolve() / "ledger.db"
    if not path.exists():
        raise ConfigurationError(
            f"no ledger is named, and there is none at {path}; give --ledger URL, or -A MODULE for the ledger of "
            "a Celery app, or set AGENTQ_LEDGER"
        )
    return f"sqlite:///{path}"
