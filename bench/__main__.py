"""The command line: `python -m bench COMMAND --help`."""

import argparse
from pathlib import Path

from bench.arguments import positive_int
from bench.operators import against, curves, guard, ranks, ratios, variance
from bench.operators.gpu import suite as gpu
from bench.papers import balance, smedas, thresholds
from bench.report import page, readme, verdict
from bench.training import compare, recording, tune
from bench.training.taking_over import take_over

# Modules with a function each that adds the arguments and that runs.
COMMANDS = {
    "compare": (compare, "train with each strategy, table and figures"),
    "tune": (tune, "each strategy's learning rate, on seeds of its own"),
    "thresholds": (thresholds, "how early importance sampling should begin"),
    "balance": (balance, "what is picked of each class, epoch by epoch"),
    "smedas": (smedas, "accuracy filters by batch, by epoch, and both"),
    "verdict": (verdict, "where importance sampling pays, and where not"),
    "guard": (guard, "ratios beside committed ones: is any worse?"),
    "curves": (curves, "operators and peers over sizes and dtypes"),
    "gpu": (gpu, "the operators on a GPU, checked and timed"),
    "pictures": (recording, "the figures of docs/pictures.md"),
    "report": (page, "all results as one HTML page"),
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    for name, (command, told) in COMMANDS.items():
        own = commands.add_parser(name, help=told)
        command.add_arguments(own)
        own.set_defaults(run=command.run)

    draw = commands.add_parser("figures", help="draw the figures of a comparison again")
    draw.add_argument("directory", type=Path)
    draw.set_defaults(run=lambda args: compare.draw_figures(args.directory))

    ratio = commands.add_parser("ratios", help="each operator beside what else could be written")
    ratio.add_argument(
        "--against",
        type=Path,
        metavar="TREE",
        help="beside the operators of another source tree, built in place, instead",
    )
    ratio.add_argument("--out", type=Path, help=f"({ratios.RESULT}, or none with --against)")
    ratio.add_argument("--threads", type=positive_int, default=2)
    ratio.set_defaults(run=run_ratios)

    saving = commands.add_parser("variance", help="what each way to draw saves")
    saving.add_argument("--out", type=Path, default=variance.RESULT)
    saving.set_defaults(run=lambda args: variance.main(args.out))

    several = commands.add_parser("ranks", help="rows of all ranks of a process group")
    several.add_argument("--out", type=Path, help="(none)")
    several.set_defaults(run=lambda args: ranks.main(args.out))

    write = commands.add_parser("readme", help="tables and figures of the pages from bench/results")
    write.add_argument(
        "--compare", type=Path, metavar="DIR", help="first take over this comparison"
    )
    write.set_defaults(run=run_readme)
    return top


def run_ratios(args: argparse.Namespace) -> None:
    if args.against is None:
        ratios.main(args.out or ratios.RESULT, args.threads)
    else:
        against.main(args.against, args.out, args.threads)


def run_readme(args: argparse.Namespace) -> None:
    if args.compare is not None:
        take_over(args.compare)
    readme.main()


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
