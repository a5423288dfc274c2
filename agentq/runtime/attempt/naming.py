"""The limits of a job that are named by the worker of its first message, and not by the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentq.exceptions import InvalidArguments
from agentq.ledger.naming import Unnamed
from agentq.runtime.attempt.other_release import Misfit
from agentq.steps import registry
from agentq.steps.naming import JobLimits

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


def limits_of(engine: Engine, job: Unnamed) -> JobLimits:
    """Return the limits of a job, now that all its arguments are known.

    Raises Misfit where the step, as this worker has it, does not take them, and InvalidArguments where a key or an
    estimate cannot be made of them.
    """
    step = registry.find(job.step)
    assert step is not None, "a step's task is bound to a registered step"
    try:
        arguments = step.parameters.loaded(job.args, job.kwargs)
    except InvalidArguments as error:
        raise Misfit(error, step.parameters.digest) from None
    return engine.naming().name(step, job.queue, job.tenant, arguments)
