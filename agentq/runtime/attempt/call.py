"""The call of an attempt: the function of its step, or its plain task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from agentq.exceptions import InvalidArguments, InvalidResult, InvalidValue, LedgerUnavailable, nearest
from agentq.ledger import attempts
from agentq.ledger.queries.workflows import scheduled_for
from agentq.ledger.records import Claim
from agentq.ledger.results import missing_members
from agentq.outcomes import Succeed
from agentq.redaction import show
from agentq.runtime.attempt import other_release, plain_tasks
from agentq.runtime.attempt.lease import current_lease
from agentq.runtime.attempt.reports import Reports
from agentq.runtime.attempt.running import Running
from agentq.runtime.attempt.slots import AttemptSlots, UntilAnswered
from agentq.runtime.bridge import loop
from agentq.states import JobKind
from agentq.steps import registry
from agentq.steps.context import CancelCheck, Context, MissingMember
from agentq.steps.definition import StepDefinition
from agentq.steps.values.encoding import encode

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


class Call:
    """One call: its arguments from the claim, its context, and what it returns as JSON text."""

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        running: Running,
        hard_timeout: float | None,
        until_answered: UntilAnswered,
    ) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._claim = claim
        self._running = running
        self._hard_timeout = hard_timeout
        self._until_answered = until_answered
        self._lease = current_lease()
        self._reports: Reports | None = None
        self._slots = AttemptSlots(engine, claim, until_answered, self._count_tokens)

    def run(self) -> Succeed:
        """Call the function and return what the attempt succeeds with.

        Raises whatever leaves the function; UnknownTask and Misfit where this worker's code cannot run the job;
        InvalidResult for a result that does not fit.
        """
        args, kwargs = json.loads(self._claim.arguments)
        if self._claim.inputs is not None:
            args = [json.loads(self._claim.inputs), *args]
        step = registry.find(self._claim.step)  # what another release started as a plain task may be one here
        if step is not None:
            return self._run_step(step, args, kwargs)
        assert self._claim.kind == JobKind.TASK, "a step's task is bound to a registered step"
        value = plain_tasks.run(self._engine, self._claim, args, kwargs, self._running, self._resolve)
        return Succeed(self._encode(value))

    def close(self) -> None:
        """Write the events of the step, and free the slots that its blocks have left."""
        if self._reports is not None:
            self._reports.close()
        self._slots.close()

    def _run_step(self, step: StepDefinition, args: list[Any], kwargs: dict[str, Any]) -> Succeed:
        parameters = step.parameters
        context = self._context() if parameters.takes_context else None
        try:
            values, named = parameters.load(args, kwargs, context)
        except InvalidArguments as error:
            raise other_release.Misfit(error, parameters.digest) from None
        run = self._engine.app.tasks[step.name].enclosed(partial(self._call, parameters.function))
        result = self._encode(parameters.dump_result(run(*values, **named)))
        return Succeed(result, tuple(context.callbacks) if context is not None else ())

    def _call(self, function: Callable[..., Any], /, *values: Any, **named: Any) -> Any:
        return self._resolve(function(*values, **named))

    def _resolve(self, value: Any) -> Any:
        return loop.resolve(value, self._claim.timeout, self._hard_timeout, self._claim.job_id)

    def _encode(self, value: Any) -> str:
        try:
            return encode(value, self._engine.settings.max_value_bytes)
        except InvalidValue as error:
            raise InvalidResult(f"the result of step {self._claim.step!r}: {error}") from None

    def _context(self) -> Context:
        claim, self._reports = self._claim, Reports(self._ledger, self._claim)
        ends = [claim.started_at + timedelta(seconds=claim.timeout)] if claim.timeout else []
        ends += [claim.deadline_at] if claim.deadline_at else []
        return Context(
            workflow_id=str(claim.workflow_id),
            job_id=str(claim.job_id),
            step=claim.step,
            tenant=claim.tenant,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
            deadline=min(ends, default=None),
            is_cancelled=CancelCheck(self._is_cancelled),
            find_missing=self._missing,
            find_scheduled_for=self._scheduled_for,
            report=self._reports.add,
            note_used=self._note_used,
            slots=self._slots,
        )

    def _note_used(self, tokens: int | Mapping[str, int]) -> None:
        if isinstance(tokens, Mapping):
            step = registry.find(self._claim.step)
            declared = {limit.name for limit in (*self._engine.limits, *(step.limits if step else ()))}
            for name in tokens:
                if name not in declared:
                    raise InvalidValue(
                        f"used(tokens=…) names {show(name)}, which is no limit of step {self._claim.step!r}."
                        f"{nearest(name, declared)} It has: {', '.join(sorted(declared)) or 'none'}."
                    )
            # A job does not have a limit whose key is None.
            names = [(name, name.partition(":")[0]) for name in self._claim.limits or ()]
            tokens = {full: tokens[name] for full, name in names if name in tokens}
        self._running.used = tokens

    def _count_tokens(self, limit: str, more: int) -> None:
        """Count tokens of a limit that the job has itself, beyond those that are reserved."""
        reserved = dict(zip(self._claim.limits or (), self._claim.tokens or (), strict=False))
        if limit in reserved:
            said = self._running.used
            if isinstance(said, int):
                said = dict.fromkeys(reserved, said)
            before = reserved | dict(said or {})
            self._running.used = before | {limit: max(0, before[limit] + more)}

    def _missing(self) -> list[MissingMember]:
        rows = self._until_answered(
            lambda: self._ledger.read(lambda connection: missing_members(connection, self._claim.job_id)),
            "to give its step the missing members",
            self._claim,
        )
        return [
            MissingMember(
                row.position, str(row.job_id), row.step, row.error_category or row.status, row.error_message or ""
            )
            for row in rows
        ]

    def _scheduled_for(self) -> datetime | None:
        tick: datetime | None = self._until_answered(
            lambda: self._ledger.read_statement(
                lambda connection: scheduled_for(connection, self._claim.workflow_id)
            ),
            "to give its step the tick of its schedule",
            self._claim,
        )
        return tick

    def _is_cancelled(self) -> bool:
        if self._lease.valid_for() <= 0 and not self._lease.is_away:
            return True
        try:
            return not self._ledger.read(
                lambda connection: attempts.still_owns(connection, self._claim.job_id, self._claim.attempt),
                wait_timeout=0,
            )
        except LedgerUnavailable:
            return False  # it cannot have been cancelled, as far as this worker knows
