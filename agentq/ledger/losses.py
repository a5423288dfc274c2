"""The reasons why an attempt ended without an outcome of its own."""

from agentq.outcomes import Failure

WORKER_LOST = Failure(
    "worker_lost",
    "agentq.WorkerLost",
    "the worker process died, was killed or lost its lease while it ran this attempt",
)
GIVEN_UP = Failure(
    "given_up",
    "agentq.GivenUp",
    "its worker got no answer from the ledger, and stopped it before the lease ended",
)
"""No failure of the step's: its job is given back at no cost."""
TIMED_OUT = Failure(
    "timed_out",
    "agentq.TimedOut",
    "the attempt ran into its hard time limit, and the process that ran it was killed",
)
DEADLINE_EXCEEDED = Failure(
    "deadline_exceeded", "agentq.DeadlineExceeded", "the job was not done within its deadline"
)
