"""The output: a line of progress now and then, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from soaking.journal import Story
from soaking.verdict import Verdict

_MOST = 20
"""Entries that are printed of each kind of thing that is wrong."""


def progress(seconds: float, story: Story, strikes: Counter[str], effects: int) -> str:
    """Return one line: where the soak stands."""
    done = ", ".join(f"{count} {what}" for what, count in strikes.items())
    ended, started = len(story.ended), len(story.started)
    return f"{seconds:5.0f} s  started {started}, ended {ended}, steps run {effects}  |  {done or 'no strikes'}"


def lines(verdict: Verdict, story: Story, strikes: Counter[str], drained: float | None) -> Iterator[str]:
    """Yield the verdict as lines of text, all that is wrong last."""
    yield "strikes        " + ", ".join(f"{count} {what}" for what, count in strikes.items())
    yield f"drained        {'not in time' if drained is None else f'in {drained:.1f} s'}"
    yield f"started        {verdict.started} workflows of {verdict.jobs} steps; {_client(story)}"
    yield f"finished       {verdict.finished}"
    for name, wrong in problems(verdict).items():
        yield f"{name:<14} {len(wrong)}"
    yield f"re-run         {verdict.rerun} steps; {verdict.attempts_lost} attempts were lost"
    at_once = ", ".join(f"{name} {most} of {slots}" for name, (most, slots) in verdict.most_at_once.items())
    yield f"limits         most at once: {at_once}; {verdict.looks_at_limits} looks"
    for name, of_it in verdict.starts.items():
        yield (
            f"starts         {of_it.count} of {name}, at most {of_it.most} in {of_it.per:g} s; {of_it.refusals} "
            f"refusals; {len(of_it.too_early)} windows with more than its rate"
        )
    yield f"sent again     {verdict.sent_again} messages"
    yield (
        f"recovery       at most {verdict.longest_recovery:.1f} s from a loss to the next attempt, "
        f"{verdict.longest_rescue:.1f} s of that after the loss was recorded"
    )
    for name, wrong in problems(verdict).items():
        yield from (f"{name}: {entry}" for entry in wrong[:_MOST])
        if len(wrong) > _MOST:
            yield f"{name}: and {len(wrong) - _MOST} more"


def problems(verdict: Verdict) -> dict[str, list[str]]:
    """Return the lists that must be empty, by their names."""
    names = ("lost", "doubled", "stuck", "wrong", "violations")
    return {name: getattr(verdict, name) for name in names}


def _client(story: Story) -> str:
    starts, away, replays = (story.events[name] for name in ("try", "unavailable", "replayed"))
    return f"{starts} calls of start, {away} calls while the ledger was away, {replays} replays"
