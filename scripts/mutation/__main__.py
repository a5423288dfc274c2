"""``scripts/mutants``: leave out one guard at a time, and see that a test fails."""

from __future__ import annotations

import queue
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from scripts.mutation.mutant import Mutant
from scripts.mutation.mutants import MUTANTS
from scripts.mutation.tree import PER_TEST, Run, Tree

_END_OF_OUTPUT = 3_000


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only this mutant; repeatable.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="How many at a time.")
@click.option("--list", "only_list", is_flag=True, help="Say what the mutants are, and run nothing.")
@click.option("--show", is_flag=True, help="Show the end of pytest's output for each.")
def main(only: tuple[str, ...], jobs: int, only_list: bool, show: bool) -> None:
    """Leave out the engine's guards, one at a time, in a copy of the project; a test must fail each time.

    The same tests must pass on a copy that is not changed. The exit code is 1 where they do not, or where
    a mutant survives.
    """
    unknown = sorted(set(only) - {mutant.name for mutant in MUTANTS})
    if unknown:
        raise click.BadParameter(f"there is no mutant {unknown[0]!r}; see --list")
    chosen = [mutant for mutant in MUTANTS if not only or mutant.name in only]
    if only_list:
        for mutant in chosen:
            click.echo(f"{mutant.name:34} {mutant.file}\n    {mutant.why}")
        return
    sys.exit(0 if _run(chosen, jobs, show) else 1)


def _run(mutants: list[Mutant], jobs: int, show: bool) -> bool:
    with ExitStack() as stack:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for _ in range(min(jobs, len(mutants) + 1)):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="agentq-mutants-"))
            trees.put(Tree(Path(folder).resolve()))

        def on_a_tree(work: Callable[[Tree], Run]) -> Run:
            tree = trees.get()
            try:
                return work(tree)
            finally:
                trees.put(tree)

        pool = ThreadPoolExecutor(jobs)
        stack.callback(pool.shutdown, cancel_futures=True)  # for who interrupts it
        control = pool.submit(on_a_tree, partial(_control, mutants=mutants))
        runs = [pool.submit(on_a_tree, partial(Tree.run, mutant=mutant)) for mutant in mutants]
        caught = 0
        for mutant, run in zip(mutants, runs, strict=True):
            caught += run.result().failed
            click.echo(_line(mutant.name, _verdict(run.result()), run.result()))
            if show or not run.result().failed:
                click.echo(run.result().output[-_END_OF_OUTPUT:])
        return _conclude(control.result(), caught, len(mutants))


def _control(tree: Tree, mutants: list[Mutant]) -> Run:
    """Run all that the mutants' runs run, unchanged."""
    return tree.test(*sorted({test for mutant in mutants for test in mutant.tests}), most=3600)


def _verdict(run: Run) -> str:
    if run.failed:
        return f"caught, by its {PER_TEST} s only" if run.timed_out else "caught"
    return {None: "HANGS", 0: "SURVIVED"}.get(run.code, f"BROKEN: pytest ended with {run.code}")


def _line(name: str, verdict: str, run: Run) -> str:
    return f"{name:34} {verdict:8} {run.seconds:6.1f} s  {run.first_failure or ''}"


def _conclude(control: Run, caught: int, count: int) -> bool:
    passed = control.code == 0
    click.echo(_line("(no mutant)", "passed" if passed else "FAILED", control))
    if not passed:
        click.echo(control.output[-_END_OF_OUTPUT:])
        click.echo("Without a mutant the tests fail too, so nothing is shown.")
    click.echo(f"{caught}/{count} caught")
    return passed and caught == count


if __name__ == "__main__":
    main(prog_name="scripts/mutants")
