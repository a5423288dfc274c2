"""Run the demo: a real worker, a workflow, and what is done to them on the way."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from kombu.exceptions import OperationalError

from agentq import Workflow, each
from agentq.demo import ending, steps
from agentq.demo.app import agentq, app
from agentq.demo.display import Display, StepProgress, open_display
from agentq.demo.errors import DemoError
from agentq.demo.schemas import Report
from agentq.demo.wording import counted, shown_path
from agentq.demo.worker import DemoWorker
from agentq.exceptions import AgentqError
from agentq.operations import jobs
from agentq.operations.jobs import StepCount
from agentq.runtime.dispatch.broker_state import address_of
from agentq.states import WORKFLOW_FINAL, JobStatus

POLL_SECONDS = 0.1
STEPS = (steps.find, steps.read, steps.summarise, steps.classify, steps.combine, steps.write)


def main(folder: Path | None, kill: bool, flush: bool, output: Path, concurrency: int) -> int:
    """Digest documents with a workflow, and show what it survives.

    Args:
        folder: where the documents are; None takes what the installed packages say of themselves.
        kill: kill the worker when a third of the documents is done, and start another one.
        flush: empty the broker when a third of the documents is done.
        output: the file for the report.
        concurrency: how many jobs the worker runs at once.

    Returns:
        The exit code: 0, 1 after an error, which is printed, or 130 after Ctrl-C.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # the worker must not be left behind
    folder, output = folder and folder.absolute(), output.absolute()
    try:
        make_ready(flush=flush)
        workflow = start(folder, output)
        Run(workflow, concurrency, kill=kill, flush=flush).follow()
        return ending.report(workflow, folder, was_hit=kill or flush)
    except AgentqError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        return 130


def make_ready(*, flush: bool) -> None:
    """Have broker and ledger at hand before anything is started; raises what is wrong with them."""
    is_own_broker = app.conf.broker_url == agentq.embedded.broker_url
    if flush and not is_own_broker:
        raise DemoError("--flush empties a whole broker, so only the demo's own; unset CELERY_BROKER_URL.")
    agentq.embedded.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the worker's log is there
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except OperationalError as error:
            raise DemoError(
                f"The broker at {address_of(connection)} does not answer ({error}); start it, or unset "
                "CELERY_BROKER_URL."
            ) from error
    agentq.ensure_ledger()


def start(folder: Path | None, output: Path) -> Workflow[Report]:
    """Start the workflow: what it waits for now is a worker."""
    workflow = agentq.start(
        steps.find.s(folder)
        | each(steps.read.s() | steps.summarise.s() | steps.classify.s())
        | steps.combine.s()
        | steps.write.s(output)
    )
    click.echo(f"Started workflow {workflow.id}.")
    return workflow


class Run:
    """The workflow, the worker that runs it now, and the troubles that are still to come."""

    def __init__(self, workflow: Workflow[Report], concurrency: int, *, kill: bool, flush: bool) -> None:
        self._workflow = workflow
        self._concurrency = concurrency
        self._troubles: list[Callable[[], str | None]] = []
        self._troubles += [self._flush] if flush else []
        self._troubles += [self._kill] if kill else []
        self._log = agentq.embedded.folder / "worker.log"
        self._log.unlink(missing_ok=True)
        self._worker = self._start_worker(1)

    def follow(self) -> None:
        """Show the progress until the workflow has ended, and make the troubles in between."""
        try:
            click.echo(f"Started worker 1; its log is {shown_path(self._log)}.")
            with open_display(sys.stdout) as display:
                self._watch(display)
        except KeyboardInterrupt:
            ending.report_interrupted(self._workflow)
            raise
        finally:
            self._worker.stop()

    def _watch(self, display: Display) -> None:
        while True:
            is_ended = self._workflow.status in WORKFLOW_FINAL
            rows = progress_rows(jobs.progress(agentq.ledger, self._workflow.id))
            display.update(rows)
            if is_ended:
                break
            self._worker.require_alive()
            if is_third_done(rows):
                self._make_trouble(display)
            time.sleep(POLL_SECONDS)
        if self._troubles:
            display.say("The workflow was too short to do to it all that was asked for.")

    def _make_trouble(self, display: Display) -> None:
        if self._troubles and (what := self._troubles[0]()):
            display.say(what)
            del self._troubles[0]

    def _kill(self) -> str | None:
        """Kill the worker while it has reserved jobs; None where it had none."""
        self._worker.freeze()  # so that the jobs it has reserved now are those that it loses
        rows = progress_rows(jobs.progress(agentq.ledger, self._workflow.id))
        reserved = sum(row.running for row in rows)
        if not reserved:
            self._worker.thaw()
            return None
        self._worker.kill()
        self._worker = self._start_worker(2)
        loss = counted(reserved, "job")
        return f"Killed worker 1, all its processes, by SIGKILL, with {loss} reserved. Started worker 2."

    def _flush(self) -> str | None:
        """Empty the broker; None where it had no message just now."""
        self._worker.freeze()  # so that it takes none of the messages between their count and their loss
        try:
            lost = self._flush_messages()
        finally:
            self._worker.thaw()
        return f"Emptied the broker (FLUSHALL) with {counted(lost, 'message')} waiting in it." if lost else None

    def _flush_messages(self) -> int | None:
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            try:
                waiting = channel.queue_declare(queue=app.conf.task_default_queue, passive=True).message_count
            except connection.channel_errors:  # in Redis, a queue without messages does not exist
                return None
            channel.client.flushall()
        return int(waiting)

    def _start_worker(self, number: int) -> DemoWorker:
        return DemoWorker(f"demo{number}", self._concurrency, self._log)


def progress_rows(counts: Iterable[StepCount]) -> list[StepProgress]:
    """Return how far each step is, in the order of the canvas."""
    by_step: dict[str, Counter[JobStatus]] = defaultdict(Counter)
    for count in counts:
        by_step[count.step][count.status] += count.jobs
    return [
        StepProgress(
            step=step.name.removeprefix("demo."),
            done=by_step[step.name][JobStatus.SUCCEEDED],
            running=by_step[step.name][JobStatus.RUNNING],
            total=by_step[step.name].total() or None,
        )
        for step in STEPS
    ]


def is_third_done(rows: Iterable[StepProgress]) -> bool:
    """Say whether a third of the documents went through their last step."""
    last = next(row for row in rows if row.step == "classify")
    return last.total is not None and last.done >= last.total // 3
