"""Has an operator become slower? Its time over the best peer's, beside that of a committed result.

A case that looks worse is measured again, since other programs disturb; its best ratio counts.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.arguments import positive_int
from bench.operators import ratios
from bench.operators.ratios import Case
from bench.report import guard_table, machine
from bench.report.files import read_json
from bench.report.guard_table import Compared
from bench.report.operator_tables import OURS, best_peer

TRIES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--result", type=Path, default=ratios.RESULT, help=f"({ratios.RESULT})")
    parser.add_argument("--cases", default="", metavar="TEXT", help="those that have it (all)")
    parser.add_argument("--threads", type=positive_int, default=2)


def run(args: argparse.Namespace) -> None:
    """Print what was compared; SystemExit if a case is worse."""
    ratios.prepare(args.threads)
    committed = read_json(args.result)
    here = machine.one_line(machine.describe())
    there = machine.one_line(committed["machine"])
    if here != there:
        print(f"Ratios of another machine may differ: {there}, and here {here}.")
    cases = [case for case in ratios.cases() if args.cases in case.name]
    found = list(compared(cases, committed["cases"]))
    print(guard_table.markdown(found), end="")
    if any(case.is_worse for case in found):
        raise SystemExit(1)


def compared(cases: Iterable[Case], committed: list[dict[str, Any]]) -> Iterator[Compared]:
    """The cases that the committed result has, too, with a peer that both have."""
    by_name = {case["name"]: case["microseconds"] for case in committed}
    for case in cases:
        if case.name not in by_name:
            continue
        before = by_name[case.name]
        now = case.measure()["microseconds"]
        common = (before.keys() & now.keys()) - {OURS}
        if not common:
            continue
        found = Compared(case.name, ratio(before, common), ratio(now, common))
        for _ in range(TRIES - 1):
            if found.is_worse:
                again = ratio(case.measure()["microseconds"], common)
                found = Compared(case.name, found.before, min(found.now, again))
        yield found


def ratio(microseconds: dict[str, dict[str, float]], among: set[str]) -> float:
    """Ours over the best of these peers."""
    _, theirs = best_peer({name: microseconds[name] for name in among})
    return microseconds[OURS]["median"] / theirs
