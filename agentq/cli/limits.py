"""``agentq limits``: list, show, set, clear, pause, resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from agentq.cli import options
from agentq.cli.display import age, echo_json, fields, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import limits as operations
from agentq.operations.schemas import JobSummary, Limit, LimitChange, LineOfTenant, Override

_NONE = (
    "no limits: one is there once a job has used it; give a step one with "
    "@step(limits=[Concurrency('model', key='model', limit=10)])"
)


def _end(text: str) -> datetime:
    """Return the time that is meant: with a date, or the next one of the clock; in UTC unless it has an offset."""
    now = datetime.now(UTC)
    is_of_day = len(text) == 5
    try:
        found = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text}" if is_of_day else text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 18:00 or 2026-11-30T18:00, in UTC, or with an offset: "
            "2026-11-30T18:00+02:00"
        ) from None
    end = found if found.tzinfo else found.replace(tzinfo=UTC)
    return end + timedelta(days=1) if is_of_day and end <= now else end


_until = options.together(
    click.option("--until", type=_end, metavar="TIME", help="When it ends: 18:00, 2026-11-30T18:00, in UTC."),
    click.option("--for", "seconds", type=options.duration, help="How long it lasts: 90s, 15m, 12h, 30d."),
)
_why = click.option("--reason", required=True, help="Why, for the history, and for those whose jobs wait.")
_name = click.argument("name")


@click.group(cls=ListingGroup)
def limits() -> None:
    """List and show limits of jobs that run at once, change, pause and resume them.

    \b
    Example:
      agentq limits
    """


@limits.command("list")
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, as_json: bool) -> None:
    """List limits, those first that jobs wait for: their slots, and how many jobs hold or await one.

    Counting stops at 1,000 jobs that wait; a count that ends in + is the least that there are.

    \b
    Example:
      agentq limits list
    """
    found = operations.list_(target.current_ledger(), limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        click.echo(table(("LIMIT", "USED", "SLOTS", "DECLARED", "WAITING", "OVERRIDE"), map(_row, found)))
    else:
        click.echo(_NONE)


@limits.command()
@_name
@options.as_json
@pass_target
def show(target: Target, name: str, as_json: bool) -> None:
    """Show a limit: its line by tenant, the jobs that hold a slot, and the last changes.

    \b
    Example:
      agentq limits show model:gpt-5
    """
    limit = operations.get(target.current_ledger(), name)
    if as_json:
        echo_json(limit)
        return
    click.echo(_head(limit))
    if limit.tenants:
        click.echo("\nline")
        click.echo(table(("TENANT", "WAITING", "WEIGHT", "SERVED"), map(_line, limit.tenants)))
    if limit.holders:
        click.echo("\njobs that hold a slot")
        click.echo(table(("ID", "STATUS", "TOOK", "TENANT", "STEP"), map(_holder, limit.holders)))
    if limit.changes:
        click.echo("\nchanges")
        click.echo(table(("WHEN", "WHO", "SLOTS", "UNTIL", "WHY"), map(_change, limit.changes)))


@limits.command("set")
@_name
@click.option("--slots", type=int, required=True, help="How many jobs may run at once; 0 pauses it.")
@_until
@_why
@options.as_json
@pass_target
def set_(
    target: Target,
    name: str,
    slots: int,
    until: datetime | None,
    seconds: float | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set the slots of a limit, in place of those that code declares, for a time or until it is cleared.

    Where there are fewer now, the jobs that hold one go on, and none is admitted until fewer hold one.

    \b
    Example:
      agentq limits set model:gpt-5 --slots 20 --for 2h --reason "a larger quota today"
    """
    end = _one_end(until, seconds)
    _report(operations.change(target.current_ledger(), name, slots, until=end, reason=reason), as_json)


@limits.command()
@_name
@options.reason
@options.as_json
@pass_target
def clear(target: Target, name: str, reason: str, as_json: bool) -> None:
    """Let a limit have the slots again that code declares.

    \b
    Example:
      agentq limits clear model:gpt-5
    """
    _report(operations.clear(target.current_ledger(), name, reason=reason), as_json)


@limits.command()
@_name
@_until
@_why
@options.as_json
@pass_target
def pause(
    target: Target, name: str, until: datetime | None, seconds: float | None, reason: str, as_json: bool
) -> None:
    """Admit no more jobs of a limit, for a time or until it is resumed; those that hold a slot go on.

    \b
    Example:
      agentq limits pause model:gpt-5 --reason "the provider is down"
    """
    end = _one_end(until, seconds)
    _report(operations.pause(target.current_ledger(), name, until=end, reason=reason), as_json)


@limits.command()
@_name
@options.reason
@options.as_json
@pass_target
def resume(target: Target, name: str, reason: str, as_json: bool) -> None:
    """Let a paused limit have the slots again that code declares.

    \b
    Example:
      agentq limits resume model:gpt-5
    """
    _report(operations.resume(target.current_ledger(), name, reason=reason), as_json)


def _one_end(until: datetime | None, seconds: float | None) -> operations.Until:
    if until is not None and seconds is not None:
        raise click.UsageError("Give --until or --for: an override has one end.")
    return seconds if until is None else until


def _report(change: LimitChange, as_json: bool) -> None:
    if as_json:
        echo_json(change)
    else:
        until = f", until {when(change.until)}" if change.until else ""
        click.echo(f"limit {change.name}: {change.before} → {change.after} slots{until}")


def _row(limit: Limit) -> tuple[str, ...]:
    return (
        limit.name,
        str(limit.used),
        str(limit.slots),
        str(limit.declared),
        _waiting(limit),
        _override(limit.override),
    )


def _head(limit: Limit) -> str:
    return fields(
        [
            ("limit", limit.name),
            ("slots", str(limit.slots)),
            ("declared", str(limit.declared)),
            ("override", _override(limit.override)),
            ("used", str(limit.used)),
            ("waiting", _waiting(limit)),
        ]
    )


def _override(override: Override | None) -> str:
    if override is None:
        return ""
    does = "" if override.slots else "paused "
    until = f", until {override.until:%Y-%m-%d %H:%M:%S} UTC" if override.until else ""
    return " ".join(f"{does}by {override.actor}{until}: {override.reason}".split())


def _waiting(of: Limit | LineOfTenant) -> str:
    return f"{of.waiting}+" if of.is_capped else str(of.waiting)


def _line(line: LineOfTenant) -> tuple[str, ...]:
    return line.tenant, _waiting(line), f"{line.weight:g}", f"{line.served:g}"


def _holder(job: JobSummary) -> tuple[str, ...]:
    return str(job.id), job.status, took(job.started_at, None), job.tenant, job.step


def _change(change: LimitChange) -> tuple[str, ...]:
    slots = f"{change.before} → {change.after}"
    return age(change.created_at), change.actor, slots, when(change.until), change.reason
