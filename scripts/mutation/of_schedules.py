"""Mutants of schedules: what lets a tick start one workflow, and none that may not begin."""

from __future__ import annotations

from scripts.mutation.mutant import Mutant

_TESTS = "tests/ledger/test_schedules.py"
_RACES = "tests/races/test_schedules.py"
_MOVES = "agentq/ledger/moves/schedules.py"
_TICKS = "agentq/ledger/ticks.py"
_TIMES = "agentq/policies/ticks.py"

MUTANTS = [
    Mutant(
        name="key-without-tick",
        file=_TICKS,
        text='return f"schedule:{name}:{at:%Y-%m-%dT%H:%M:%SZ}"',
        instead='return f"schedule:{name}"',
        why="a schedule starts its first tick alone",
        tests=(_TESTS,),
        pick="starts_a_workflow_with_its_key",
    ),
    Mutant(
        name="tick-passed-by-all",
        file=_MOVES,
        text='        ScheduleRow.next_at == bindparam("seen", type_=UtcDateTime()),\n        ScheduleRow.digest',
        instead='        bindparam("seen", type_=UtcDateTime()).is_not(None),\n        ScheduleRow.digest',
        why="each process that saw a tick passes it",
        tests=(_TESTS,),
        pick="before_another_passed_its_tick",
    ),
    Mutant(
        name="older-definition-starts",
        file=_MOVES,
        text='ScheduleRow.digest == bindparam("seen_digest", type_=String()),',
        instead='bindparam("seen_digest", type_=String()).is_not(None),',
        why="a tick starts a canvas that was replaced",
        tests=(_TESTS,),
        pick="replaced_between_look_and_start",
    ),
    Mutant(
        name="pause-is-overrun",
        file=_MOVES,
        text="type_=String()),\n        _goes,\n    )",
        instead="type_=String()),\n    )",
        why="a tick that was seen before a pause starts in it",
        tests=(_TESTS,),
        pick="between_look_and_start_holds",
    ),
    Mutant(
        name="overlap-as-it-was-seen",
        file=_TICKS,
        text="last, owed = passed.last_workflow_id, passed.owed_for",
        instead="last, owed = schedule.last_workflow_id, schedule.owed_for",
        why="a workflow that began since the look is not seen, and two are open",
        tests=(_TESTS,),
        pick="a_trigger_between_look_and_start",
    ),
    Mutant(
        name="owed-beside-the-open-one",
        file=_MOVES,
        text="MAY_BEGIN = and_(ScheduleRow.owed_for.is_not(None), _may_begin)",
        instead="MAY_BEGIN = and_(ScheduleRow.owed_for.is_not(None), ScheduleRow.paused_by.is_(None))",
        why="caretakers find work that they may not do",
        tests=(_TESTS,),
        pick="an_owed_tick_is_no_work",
    ),
    Mutant(
        name="owed-begins-twice",
        file=_MOVES,
        text='ScheduleRow.owed_for == bindparam("seen", type_=UtcDateTime()), _goes, ~_last_is_open)',
        instead='bindparam("seen", type_=UtcDateTime()).is_not(None), _goes)',
        why="an owed workflow begins for each process that saw it, and beside an open one",
        tests=(_TESTS,),
        pick="an_owed_tick_that_another_process_took",
    ),
    Mutant(
        name="missed-ticks-not-counted",
        file=_TIMES,
        text="missed = timing.count(next_at, ticks[0] if ticks else now) - bool(ticks)",
        instead="missed = 0",
        why="a person does not see that ticks were missed",
        tests=(_TESTS,),
        pick="the_others_are_counted",
    ),
    Mutant(
        name="repeated-hour-twice",
        file=_TIMES,
        text="            if tick > last:\n                yield tick",
        instead="            if tick != last:\n                yield tick",
        why="in the hour that comes twice, a time that has passed comes again",
        tests=("tests/policies/test_ticks.py",),
        pick="comes_once_whenever_it_is_asked_for",
    ),
    Mutant(
        name="time-of-change-by-whole-hours",
        file=_TIMES,
        text='        if any(part.startswith("*") for part in self.cron.split()[:2]):\n',
        instead="        if False:\n",
        why="ticks after a change of the clock by half an hour are left out",
        tests=("tests/policies/test_ticks.py",),
        pick="Lord_Howe",
    ),
]
