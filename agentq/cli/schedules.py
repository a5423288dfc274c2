"""``agentq schedules``: list, show, apply, pause, resume, trigger, backfill, remove."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from agentq.cli import options
from agentq.cli.display import age, echo_json, fields, json_of, rounded, table, when
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.exceptions import ConfigurationError
from agentq.operations import schedules as operations
from agentq.operations.schemas import Schedule, ScheduleChange

_COLUMNS = ("SCHEDULE", "TENANT", "TIMES", "NEXT", "LAST", "STARTED", "MISSED", "SKIPPED", "PAUSE")
_NONE = (
    "no schedules: declare one in code with agentq.schedule('digest', canvas, cron='30 2 * * *'), then start a "
    "worker, or: agentq -A MODULE schedules apply"
)
_name = click.argument("name")
_tenant = click.option("--tenant", help="Whose, where several tenants have one of this name.")


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-11-30 or 2026-11-30T18:00, in UTC, or with an offset: "
            "2026-11-30T18:00+02:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.group(cls=ListingGroup)
def schedules() -> None:
    """List, show, pause, resume and trigger schedules.

    \b
    Example:
      agentq schedules
    """


@schedules.command("list")
@options.tenant
@options.limit
@options.as_json
@pass_target
def list_(target: Target, tenant: str | None, limit: int, as_json: bool) -> None:
    """List the schedules, by name, with the next tick of each.

    \b
    Example:
      agentq schedules list
    """
    found = operations.list_(target.current_ledger(), tenant=tenant, limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        click.echo(table(_COLUMNS, map(_row, found)))
    else:
        click.echo(_NONE)


@schedules.command()
@_name
@_tenant
@options.as_json
@pass_target
def show(target: Target, name: str, tenant: str | None, as_json: bool) -> None:
    """Show a schedule: its times, its next ticks, what came of the last one, and its history.

    \b
    Example:
      agentq schedules show digest
    """
    found = operations.get(target.current_ledger(), name, tenant=tenant)
    if as_json:
        echo_json(found)
        return
    last = "" if found.last_tick is None else f"{when(found.last_tick)}, workflow {found.last_workflow_id}"
    owed = "" if found.owed_for is None else f"the tick of {when(found.owed_for)}"
    window = rounded(found.catch_up_window)
    counts = f"{found.started} started, {found.missed} missed, {found.skipped} skipped"
    pairs = [
        ("schedule", found.name),
        ("tenant", found.tenant),
        ("starts", found.canvas),
        ("times", _times(found)),
    ]
    pairs += [("overlap", found.overlap), ("catch up", f"{found.catch_up} of the last {window}"), ("last", last)]
    pairs += [("owed", owed), ("ticks", counts), ("pause", _pause(found))]
    click.echo(fields(pairs))
    click.echo("\nnext ticks")
    for tick in found.coming:
        click.echo(when(tick))
    if found.changes:
        click.echo("\nchanges")
        click.echo(table(("WHEN", "WHO", "WHAT", "WHY"), map(_change, found.changes)))


@schedules.command()
@options.as_json
@pass_target
def apply(target: Target, as_json: bool) -> None:
    """Write the schedules that the code of -A declares, as each worker does when it starts.

    \b
    Example:
      agentq -A proj schedules apply
    """
    if target.agentq is None:
        raise ConfigurationError("no app is named, so there is no code with schedules; give it with -A MODULE")
    target.agentq.app.loader.import_default_modules()
    target.agentq.app.finalize()
    applied = target.agentq.apply_schedules()
    if as_json:
        rows = [
            {"name": one.name, "tenant": one.tenant, "action": one.action, "error": one.error} for one in applied
        ]
        click.echo(json_of(rows, indent=2))
    elif not applied:
        click.echo("the code declares no schedules")
    for one in applied if not as_json else ():
        click.echo(f"{one.name} of {one.tenant}: {one.error or one.action or 'is there already'}")
    if any(one.error for one in applied):
        click.get_current_context().exit(1)


@schedules.command()
@_name
@click.option("--until", type=_time, metavar="TIME", help="When it goes on by itself: 2026-12-24, in UTC.")
@click.option("--for", "seconds", type=options.duration, help="How long it is paused: 90s, 15m, 12h, 30d.")
@click.option("--reason", required=True, help="Why, for the history.")
@_tenant
@options.as_json
@pass_target
def pause(
    target: Target,
    name: str,
    until: datetime | None,
    seconds: float | None,
    reason: str,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Let a schedule start nothing until it is resumed.

    \b
    Example:
      agentq schedules pause digest --until 2026-12-24 --reason "holidays"
    """
    if until is not None and seconds is not None:
        raise click.UsageError("Give --until or --for, not both.")
    end = until if seconds is None else seconds
    ledger = target.current_ledger()
    _report(operations.pause(ledger, name, reason=reason, until=end, tenant=tenant), as_json, "is paused")


@schedules.command()
@_name
@options.reason
@_tenant
@options.as_json
@pass_target
def resume(target: Target, name: str, reason: str, tenant: str | None, as_json: bool) -> None:
    """Let a paused schedule go on; ticks that it missed are caught up as it says.

    \b
    Example:
      agentq schedules resume digest
    """
    found = operations.resume(target.current_ledger(), name, reason=reason, tenant=tenant)
    _report(found, as_json, "goes on")


@schedules.command()
@_name
@options.reason
@_tenant
@options.as_json
@pass_target
def trigger(target: Target, name: str, reason: str, tenant: str | None, as_json: bool) -> None:
    """Start the workflow of a schedule now, as its overlap says.

    \b
    Example:
      agentq schedules trigger digest
    """
    done = operations.trigger(target.current_ledger(), name, reason=reason, tenant=tenant)
    if as_json:
        echo_json(done)
    elif done.workflow_id is None:
        click.echo(f"schedule {name}: its workflow begins when the last one has ended")
    else:
        click.echo(f"schedule {name}: started workflow {done.workflow_id}")


@schedules.command()
@_name
@click.option("--from", "first", type=_time, required=True, metavar="TIME", help="The first time: 2026-11-30.")
@click.option("--to", "last", type=_time, required=True, metavar="TIME", help="The last time, which is past.")
@click.option("--most", type=int, default=100, show_default=True, help="How many ticks there may be, up to 1000.")
@options.reason
@_tenant
@options.as_json
@pass_target
def backfill(
    target: Target,
    name: str,
    first: datetime,
    last: datetime,
    most: int,
    reason: str,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Start the workflow of each tick of a time that is past and has none yet, all at once.

    \b
    Example:
      agentq schedules backfill digest --from 2026-11-01 --to 2026-11-08
    """
    ledger = target.current_ledger()
    done = operations.backfill(ledger, name, first, last, most=most, reason=reason, tenant=tenant)
    if as_json:
        echo_json(done)
    else:
        click.echo(f"schedule {name}: {len(done.ticks)} ticks, {done.started} workflows started now")


@schedules.command()
@_name
@options.reason
@_tenant
@options.as_json
@pass_target
def remove(target: Target, name: str, reason: str, tenant: str | None, as_json: bool) -> None:
    """Delete a schedule; its workflows go on, and its history stays.

    Code that declares it writes it again when a worker starts.

    \b
    Example:
      agentq schedules remove digest --reason "not needed any more"
    """
    _report(operations.remove(target.current_ledger(), name, reason=reason, tenant=tenant), as_json, "is removed")


def _report(schedule: Schedule, as_json: bool, what: str) -> None:
    if as_json:
        echo_json(schedule)
    else:
        end = schedule.pause.until if schedule.pause else None
        click.echo(f"schedule {schedule.name} {what}{'' if end is None else f' until {when(end)}'}")


def _row(schedule: Schedule) -> tuple[str, ...]:
    counts = (str(schedule.started), str(schedule.missed), str(schedule.skipped))
    times = (age(schedule.next_at), age(schedule.last_tick))
    return schedule.name, schedule.tenant, _times(schedule), *times, *counts, _pause(schedule)


def _times(schedule: Schedule) -> str:
    if schedule.every is not None:
        return f"every {timedelta(seconds=schedule.every)}"
    return f"{schedule.cron} {schedule.timezone}"


def _pause(schedule: Schedule) -> str:
    if schedule.pause is None:
        return ""
    until = "" if schedule.pause.until is None else f", until {when(schedule.pause.until)}"
    return f"by {schedule.pause.actor}{until}: {schedule.pause.reason}"


def _change(change: ScheduleChange) -> tuple[str, ...]:
    details = f" {change.details}" if change.details else ""
    until = f" until {when(change.until)}" if change.until else ""
    return age(change.created_at), change.actor, f"{change.action}{until}{details}", change.reason
