"""``agentq limits``: list, show, set, clear, pause, resume, cool."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import click

from agentq.cli import options
from agentq.cli.display import age, echo_json, fields, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import limits as operations
from agentq.operations.schemas import (
    Hold,
    JobSummary,
    Limit,
    LimitChange,
    LineOfTenant,
    NumberPerTime,
    Override,
)
from agentq.operations.until import Until
from agentq.policies import written
from agentq.states import MeterSource

_COLUMNS = ("LIMIT", "USED", "SLOTS", "DECLARED", "RATE", "TOKENS", "WAITING", "COOLDOWN", "OVERRIDE")
_SOURCES = {MeterSource.CODE: "code", MeterSource.FILE: "the limits file"}
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


def _per_time(text: str) -> tuple[int, float]:
    """Return number and seconds of a meter such as 500/60 or 500/1m."""
    found = written.number_in_time(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no number in a time; write it as 500/60 or 500/1m.")
    return found


_until = options.together(
    click.option("--until", type=_end, metavar="TIME", help="When it ends: 18:00, 2026-11-30T18:00, in UTC."),
    click.option("--for", "seconds", type=options.duration, help="How long it lasts: 90s, 15m, 12h, 30d."),
)
_why = click.option("--reason", required=True, help="Why, for the history, and for those whose jobs wait.")
_name = click.argument("name")


@click.group(cls=ListingGroup)
def limits() -> None:
    """List and show limits of jobs, change, pause, resume and cool them.

    \b
    Example:
      agentq limits
    """


@limits.command("list")
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, as_json: bool) -> None:
    """List limits, those first that jobs wait for: their meters, and how many jobs hold or await one.

    Counting stops at 1,000 jobs that wait; a count that ends in + is the least that there are.

    \b
    Example:
      agentq limits list
    """
    found = operations.list_(target.current_ledger(), limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        click.echo(table(_COLUMNS, map(_row, found)))
    else:
        click.echo(_NONE)


@limits.command()
@_name
@options.as_json
@pass_target
def show(target: Target, name: str, as_json: bool) -> None:
    """Show a limit: its line by tenant, the jobs and calls that hold a slot, and the last changes.

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
    if limit.holds:
        click.echo("\nslots of calls, and of lost attempts")
        click.echo(table(("JOB", "ATTEMPT", "FOR", "TAKEN", "UNTIL", "STEP"), map(_hold, limit.holds)))
    if limit.changes:
        click.echo("\nchanges")
        click.echo(table(("WHEN", "WHO", "CHANGE", "UNTIL", "WHY"), map(_change, limit.changes)))


@limits.command("set")
@_name
@click.option("--slots", type=int, help="How many jobs may run at once; 0 pauses it.")
@click.option("--rate", type=_per_time, metavar="N/TIME", help="How many attempts may start in a time: 500/60.")
@click.option(
    "--tokens", type=_per_time, metavar="N/TIME", help="How many tokens it may use in a time: 200000/60."
)
@_until
@_why
@options.as_json
@pass_target
def set_(
    target: Target,
    name: str,
    slots: int | None,
    rate: tuple[int, float] | None,
    tokens: tuple[int, float] | None,
    until: datetime | None,
    seconds: float | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set meters of a limit, in place of those that code declares, for a time or until it is cleared.

    Where there are fewer slots now, the jobs that hold one go on, and none is admitted until fewer hold one.

    \b
    Example:
      agentq limits set model:gpt-5 --slots 20 --for 2h --reason "a larger quota today"
    """
    if slots is None and rate is None and tokens is None:
        raise click.UsageError("Give --slots, --rate or --tokens: there is nothing to set.")
    end, ledger = _one_end(until, seconds), target.current_ledger()
    change = operations.change(ledger, name, slots, rate=rate, tokens=tokens, until=end, reason=reason)
    _report(change, as_json)


@limits.command()
@_name
@options.reason
@options.as_json
@pass_target
def clear(target: Target, name: str, reason: str, as_json: bool) -> None:
    """Let a limit have the meters again that code declares.

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


@limits.command()
@_name
@click.argument("seconds", type=options.duration, metavar="TIME")
@_why
@options.as_json
@pass_target
def cool(target: Target, name: str, seconds: float, reason: str, as_json: bool) -> None:
    """Admit no job of a limit for a time: 60, 90s, 15m; then one, and twice as many after each success.

    It takes the place of any cooldown that the limit has: 0 ends that.

    \b
    Example:
      agentq limits cool model:gpt-5 60 --reason "the provider asks for less"
    """
    _report(operations.cool(target.current_ledger(), name, seconds, reason=reason), as_json)


def _one_end(until: datetime | None, seconds: float | None) -> Until:
    if until is not None and seconds is not None:
        raise click.UsageError("Give --until or --for: an override has one end.")
    return seconds if until is None else until


def _report(change: LimitChange, as_json: bool) -> None:
    if as_json:
        echo_json(change)
    else:
        until = f", until {when(change.until)}" if change.until else ""
        click.echo(f"limit {change.name}: {_changed(change)}{until}")


def _changed(change: LimitChange) -> str:
    if change.cools_until is not None:
        is_over = change.cools_until <= change.created_at
        return "its cooldown is over" if is_over else f"cools until {when(change.cools_until)}"
    meters = (
        (change.before, change.after, "slots"),
        (change.rate_before, change.rate_after, "starts"),
        (change.tokens_before, change.tokens_after, "tokens"),
    )
    changed = [f"{_number(one)} → {_number(two)} {what}" for one, two, what in meters if one != two]
    return ", ".join(changed) or f"{_number(change.before)} → {_number(change.after)} slots"


def _number(meter: int | str | None) -> str:
    return "any" if meter is None else str(meter)


def _sourced(
    limit: Limit, meter: str, number: int | NumberPerTime | None, declared: int | NumberPerTime | None
) -> str:
    """Return the *number* of a meter with its source; behind one that an operator has set the *declared* one."""
    said = _by_source(declared, getattr(limit.declared_sources, meter))
    if limit.override is None or getattr(limit.sources, meter) != MeterSource.OVERRIDE:
        return said
    return f"{number} by {limit.override.actor}{_until_of(limit.override)}; declared: {said or 'any'}"


def _by_source(number: int | NumberPerTime | None, source: MeterSource | None) -> str:
    return "" if source is None else f"{number} by {_SOURCES[source]}"


def _row(limit: Limit) -> tuple[str, ...]:
    return (
        limit.name,
        str(limit.used),
        _number(limit.slots),
        _number(limit.declared),
        str(limit.rate or ""),
        str(limit.tokens or ""),
        _waiting(limit),
        _cooldown(limit),
        _override(limit.override),
    )


def _head(limit: Limit) -> str:
    return fields(
        [
            ("limit", limit.name),
            ("slots", _sourced(limit, "slots", limit.slots, limit.declared) or "any"),
            ("rate", _sourced(limit, "rate", limit.rate, limit.declared_rate)),
            ("tokens", _sourced(limit, "tokens", limit.tokens, limit.declared_tokens)),
            ("cooldown", _cooldown(limit)),
            ("override", _override(limit.override)),
            ("used", str(limit.used)),
            ("waiting", _waiting(limit)),
        ]
    )


def _cooldown(limit: Limit) -> str:
    cooldown = limit.cooldown
    if cooldown is None:
        return ""
    if cooldown.seconds:
        return f"{math.ceil(cooldown.seconds)} s ({cooldown.reason})"
    return f"over; {limit.at_once} at once"


def _override(override: Override | None) -> str:
    if override is None:
        return ""
    does = "paused " if override.slots == 0 else ""
    return " ".join(f"{does}by {override.actor}{_until_of(override)}: {override.reason}".split())


def _until_of(override: Override) -> str:
    return f", until {override.until:%Y-%m-%d %H:%M:%S} UTC" if override.until else ""


def _waiting(of: Limit | LineOfTenant) -> str:
    return f"{of.waiting}+" if of.is_capped else str(of.waiting)


def _line(line: LineOfTenant) -> tuple[str, ...]:
    return line.tenant, _waiting(line), f"{line.weight:g}", f"{line.served:g}"


def _holder(job: JobSummary) -> tuple[str, ...]:
    return str(job.id), job.status, took(job.started_at, None), job.tenant, job.step


def _hold(hold: Hold) -> tuple[str, ...]:
    what = "a call" if hold.is_running else "a lost attempt"
    until = "" if hold.is_running else when(hold.until)
    return str(hold.job_id), str(hold.attempt), what, age(hold.created_at), until, hold.step


def _change(change: LimitChange) -> tuple[str, ...]:
    return age(change.created_at), change.actor, _changed(change), when(change.until), change.reason
