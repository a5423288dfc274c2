"""The command behind ``scripts/crash-sweep``."""

from __future__ import annotations

import argparse
import sys

from tests.sweep.broken import WAYS
from tests.sweep.places import open_place
from tests.sweep.scenario import SCENARIOS
from tests.sweep.sweep import Sweep


def main() -> int:
    """Sweep; returns 1 where something is wrong."""
    options = _parser().parse_args()
    ledgers = [options.ledger] if options.ledger else ["sqlite", "postgresql"]
    scenarios = [options.scenario] if options.scenario else [*SCENARIOS]
    return max([_sweep(ledger, scenario, options) for ledger in ledgers for scenario in scenarios])


def _sweep(ledger: str, name: str, options: argparse.Namespace) -> int:
    scenario = SCENARIOS[name]
    with open_place(ledger, scenario) as place:
        result = Sweep(place, scenario, breaking=WAYS.get(options.broken)).run(
            only=options.point,
            at=options.at,
            sampled=options.sample,
            again=options.double,
            stop=options.stop,
        )
    if options.list:
        for number, name in enumerate(result.points):
            print(f"{number:5} {name}")
    print(f"{ledger}, {name}: {result}", flush=True)
    return int(bool(result.wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/crash-sweep",
        description="Crash workflows before and after every SQL statement, commit, publish, "
        "acknowledgement and effect, let a fresh worker recover it, and audit the ledger.",
    )
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], help="default: first one, then the other")
    parser.add_argument("--scenario", choices=[*SCENARIOS], help="default: one after the other")
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="only at the N-th twentieth of the points; twenty in a row have them all",
    )
    parser.add_argument(
        "--double",
        type=int,
        nargs="?",
        const=sys.maxsize,
        default=0,
        metavar="N",
        help="crash each recovery as well, at N of its points; without N at all of them, which takes hours",
    )
    parser.add_argument("--point", type=int, action="append", default=[], help="only at this point; repeatable")
    parser.add_argument("--at", default="", metavar="TEXT", help="only at the points whose names contain this")
    parser.add_argument("--list", action="store_true", help="print the names of all points")
    parser.add_argument("--stop", action="store_true", help="end at the first thing that is wrong")
    parser.add_argument("--broken", choices=WAYS, help="break the engine in this way, to see that it is found")
    return parser


if __name__ == "__main__":
    sys.exit(main())
