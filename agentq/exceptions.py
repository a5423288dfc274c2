"""Every error that agentq raises, as one tree.

    AgentqError
    ├── DefinitionError              the code that defines steps or canvases is wrong
    │   ├── StepDefinitionError      an option, a name or an annotation of @step
    │   ├── CanvasError              a canvas that cannot be started; names the signature
    │   └── ScheduleError            a schedule that makes no sense: its times, its name, its catch-up
    ├── InvalidValue                 a value that cannot be kept or does not fit its annotation
    │   ├── InvalidArguments         arguments of a step
    │   ├── InvalidResult            what a step returned
    │   └── ValueTooLarge            over the size limit
    ├── ConfigurationError           settings, Celery configuration, set-up
    │   └── EmbeddedServerError      the private broker could not be started
    ├── LedgerError                  the database behind the ledger
    │   ├── LedgerUnavailable        cannot be reached, or did not answer in time
    │   └── SchemaMismatch           its schema is missing, older or newer than this code
    ├── NotFound                     no such workflow or job
    ├── StateConflict                the row is not in a state that allows the move
    ├── KeyConflict                  the same key was started before with different arguments
    ├── BacklogFull                  as many workflows are open, or jobs wait, as may: nothing was started
    ├── LimitReached                 ctx.limit() could not begin in time; out of a step, its job waits in line
    ├── WorkflowFailed               raised by result(): the workflow did not succeed
    │   ├── StepFailed               a step failed for good
    │   └── WorkflowCancelled        a person cancelled it, or it expired
    ├── Directive                    raised by a step, to say itself what becomes of its job
    │   ├── Retry                    tried again, after a time of its own
    │   ├── Cancel                   not wanted any more
    │   └── DeadLetterNow            a dead letter at once
    ├── AttemptFailed                raised towards Celery, so that its events show the failure
    └── ResultTimeout                result() did not get its answer in time (also a TimeoutError)

Each message says what is wrong, with which value, and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal


class AgentqError(Exception):
    """The root: nothing else leaves agentq's public functions."""


class DefinitionError(AgentqError):
    """The code that defines steps or canvases is wrong."""


class StepDefinitionError(DefinitionError):
    """An option, a name or an annotation of ``@step`` is not usable."""


class CanvasError(DefinitionError):
    """A canvas has a signature that cannot be started; the message names it."""


class ScheduleError(DefinitionError):
    """A schedule makes no sense: its times, its name, its overlap or what it catches up."""


class InvalidValue(AgentqError):
    """A value cannot be kept in the ledger or does not fit its annotation."""


class InvalidArguments(InvalidValue):
    """The arguments of a step do not fit its parameters."""


class InvalidResult(InvalidValue):
    """The result of a step does not fit its annotation or cannot be stored."""


class ValueTooLarge(InvalidValue):
    """An argument or a result is over the size limit."""


class ConfigurationError(AgentqError):
    """A setting is missing, wrong, or contradicts another one."""


class EmbeddedServerError(ConfigurationError):
    """The private broker of the embedded default could not be started."""


class LedgerError(AgentqError):
    """The database behind the ledger cannot be used."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached or did not answer in time.

    ``is_down`` is True where the database itself said so: it refuses connections, is shutting down or starting,
    has a full disk, is read-only, or is locked. Without an answer, it is False.
    """

    def __init__(self, message: str, *, is_down: bool = False) -> None:
        super().__init__(message)
        self.is_down = is_down


class SchemaMismatch(LedgerError):
    """The ledger's schema is missing, or older or newer than this code.

    ``found`` and ``expected`` are revisions; ``found`` is None where there is no schema.
    """

    def __init__(self, message: str, *, found: str | None, expected: str) -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


class NotRecorded(AgentqError):
    """The outcome of an attempt could not be written: an error of agentq's own, or a refusal of the ledger."""


class NotFound(AgentqError):
    """No workflow or job has this id."""


class StateConflict(AgentqError):
    """A row is not in a state that allows the move."""

    def __init__(self, what: str, *, expected: Iterable[str], found: str, next_step: str = "") -> None:
        wanted = " or ".join(expected)
        super().__init__(f"{what} is {found}, but must be {wanted} for this. {next_step}".rstrip())
        self.found = found


class KeyConflict(AgentqError):
    """The same (tenant, key) was started before with a different canvas or other arguments."""

    def __init__(self, *, tenant: str, key: str, workflow_id: str, name: str, difference: str) -> None:
        super().__init__(
            f"key {key!r} of tenant {tenant!r} already names workflow {workflow_id} ({name}), which does other "
            f"work: {difference}. Use another key for this start, or the same steps and arguments; look with: "
            f"agentq workflows show {workflow_id}"
        )
        self.tenant = tenant
        self.key = key
        self.workflow_id = workflow_id


class BacklogFull(AgentqError):
    """As many workflows of a tenant are open, or jobs of a step wait, as may: nothing was started.

    ``cap`` is "max_open" or "max_backlog", ``of`` the tenant or the step that has it, and ``most`` its number.
    ``count`` workflows are open, or jobs wait; they are counted up to that number. ``oldest`` is the age of the
    oldest, and ``retry_after`` a guess of when a tenth of them has ended, from 1 to 60; both in seconds.
    """

    def __init__(
        self, cap: Literal["max_open", "max_backlog"], of: str, most: int, places: int, count: int, oldest: float
    ) -> None:
        found = (
            f"tenant {of!r} has {count} open workflows" if cap == "max_open" else f"{count} jobs of {of!r} wait"
        )
        age = f", the oldest for {oldest:.0f} s" if count else ""
        room = f"{cap} is {most}, and this start needs room for {places}"
        self.retry_after = min(max(1.0, oldest / 10), 60.0)
        advice = f"try again in {self.retry_after:.0f} s" if places <= most else "it needs more than there may be"
        super().__init__(f"{found}{age}; {room}. Nothing was started: {advice}")
        self.cap, self.of, self.most, self.count, self.oldest = cap, of, most, count, oldest


class LimitReached(AgentqError):
    """A call inside a step could not begin: its limit had no slot or start for it, for as long as it could wait.

    Where it leaves the step, its job stands in the line of the limit, and no attempt is burned. ``limit`` is the
    name, ``used`` how many slots were used of how many ``slots``, ``wait`` the seconds that it could wait.
    ``due_in`` are the seconds until a start is due, by the limit's rate, tokens and cooldown: then it has not
    waited. It is 0 where only a slot was lacking. ``tokens`` are those that the call asked for.
    """

    def __init__(
        self,
        *,
        limit: str,
        used: int,
        slots: int | None,
        wait: float,
        due_in: float = 0.0,
        tokens: int = 0,
    ) -> None:
        if due_in:
            why = f"no start of limit {limit!r} was due within {wait:g} s: the next one is due in {due_in:.3g} s"
        else:
            why = f"no slot of limit {limit!r} was free within {wait:g} s: {used} of {slots} are used"
        super().__init__(
            f"{why}. Wait longer with ctx.limit({limit!r}, wait=…), or let this error leave the step, so that its "
            f"job waits for it; look with: agentq limits show {limit}"
        )
        self.limit = limit
        self.used = used
        self.slots = slots
        self.wait = wait
        self.due_in = due_in
        self.tokens = tokens


class WorkflowFailed(AgentqError):
    """The workflow ended without a result."""

    def __init__(self, message: str, *, workflow_id: str) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id


class StepFailed(WorkflowFailed):
    """A step failed for good: its own error, as plain data.

    ``step`` and ``job_id`` say where, ``attempts`` how often it was tried, ``error_class`` is the qualified
    name of the exception that the step raised, ``error_message`` its text, ``category`` its classification.
    """

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str,
        step: str,
        attempts: int,
        error_class: str,
        error_message: str,
        category: str,
    ) -> None:
        # A fan-in with missing members is no step, and has no attempts.
        failed = f"step {step!r} failed after {attempts} attempt(s)" if attempts else "a fan-in failed"
        super().__init__(
            f"{failed}: {error_class}: {error_message} (look with: agentq jobs show {job_id})",
            workflow_id=workflow_id,
        )
        self.job_id = job_id
        self.step = step
        self.attempts = attempts
        self.error_class = error_class
        self.error_message = error_message
        self.category = category


class WorkflowCancelled(WorkflowFailed):
    """The workflow was cancelled or expired; ``reason`` says why."""

    def __init__(self, *, workflow_id: str, reason: str) -> None:
        super().__init__(f"workflow {workflow_id} was cancelled: {reason}", workflow_id=workflow_id)
        self.reason = reason


class Directive(AgentqError):
    """Raised by a step to say itself what becomes of its job, whatever its policy's rules say."""


class Retry(Directive):
    """Try this job again, within the policy's attempts.

    ``after`` is in seconds; None for the pause that the policy has for the error that this was raised from.
    """

    def __init__(self, reason: str = "the step asked for it", *, after: float | None = None) -> None:
        if after is not None and not (isinstance(after, (int, float)) and 0 <= after < 1e9):
            raise InvalidArguments(f"Retry(after={after!r}): must be seconds from 0 up, or None for the policy's")
        super().__init__(reason)
        self.after = after


class Cancel(Directive):
    """This job is not wanted any more, so neither is what needs it; the reason is kept."""


class DeadLetterNow(Directive):
    """Make this job a dead letter at once, whatever attempts are left; the reason is kept."""


class AttemptFailed(AgentqError):
    """Raised in a worker towards Celery when a step failed for good; the ledger has recorded it by then."""


class ResultTimeout(AgentqError, TimeoutError):
    """``result(timeout=…)`` did not get its answer in time; the workflow goes on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name that is nearest to *name*, or an empty string."""
    close = difflib.get_close_matches(name, [str(word) for word in known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
