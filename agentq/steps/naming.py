"""The names of a job's limits: given at its start, or later, where a key needs what the step before gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentq.policies.limits import Element, JobLimit, Meters, limit_of_queue, limits_of_job, need_argument
from agentq.policies.limits_file import NO_FILE, LimitsFile
from agentq.steps.definition import StepDefinition


@dataclass(frozen=True, slots=True)
class JobLimits:
    """The limits of one job, in the order of their names, with what code declares of each."""

    by_name: Mapping[str, JobLimit] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Their names, with the keys."""
        return list(self.by_name)

    @property
    def tokens(self) -> list[int]:
        """The tokens of each that an attempt is expected to use; none where no limit counts tokens."""
        counts = any(limit.meters.tokens for limit in self.by_name.values())
        return [limit.tokens for limit in self.by_name.values()] if counts else []

    @property
    def pays(self) -> bool:
        """True where each start has to be paid for."""
        return any(limit.meters.pays for limit in self.by_name.values())

    @property
    def meters(self) -> dict[str, Meters]:
        """The meters that code, and the limits file, declare of each."""
        return {name: limit.meters for name, limit in self.by_name.items()}


@dataclass(frozen=True, slots=True)
class Naming:
    """All that names the limits of a job beside its step, its queue, its tenant and its arguments."""

    of_all: tuple[Element, ...] = ()
    """The limits of all steps."""
    file: LimitsFile = NO_FILE
    ordered: Mapping[str, int] = field(default_factory=dict)
    """The queues that are ordered, with the slots of their limits."""

    def elements_of(self, step: StepDefinition | None) -> tuple[Element, ...]:
        """Return the limits of all jobs of a step; none for a plain task."""
        return (*self.of_all, *step.limits) if step else ()

    def is_for_later(self, step: StepDefinition | None) -> bool:
        """Say whether the limits of a job can be named only with the argument that the step before gives."""
        return step is not None and need_argument(self.elements_of(step), step.parameters.first)

    def name(
        self, step: StepDefinition | None, queue: str, tenant: str, arguments: Mapping[str, Any]
    ) -> JobLimits:
        """Return the limits of one job.

        Args:
            step: its step; None for a plain task.
            queue: its queue.
            tenant: of its workflow.
            arguments: all of them, by the names of their parameters.

        Raises InvalidArguments as ``limits_of_job`` does.
        """
        found = (
            {limit_of_queue(queue): JobLimit(Meters(slots=self.ordered[queue]))} if queue in self.ordered else {}
        )
        if step is not None:
            found |= limits_of_job(self.elements_of(step), step.name, tenant, arguments)
        return JobLimits(
            {
                name: JobLimit(self.file.meters_of(name, limit.meters), limit.tokens)
                for name, limit in sorted(found.items())
            }
        )
