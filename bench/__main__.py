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


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    comparison = commands.add_parser("compare", help="train with each strategy, table and figures")
    compare.add_arguments(comparison)
    comparison.set_defaults(run=compare.run)

    rates = commands.add_parser("tune", help="each strategy's learning rate, on seeds of its own")
    tune.add_arguments(rates)
    rates.set_defaults(run=tune.run)

    draw = commands.add_parser("figures", help="draw the figures of a comparison again")
    draw.add_argument("directory", type=Path)
    draw.set_defaults(run=lambda args: compare.draw_figures(args.directory))

    study = commands.add_parser("thresholds", help="how early importance sampling should begin")
    thresholds.add_arguments(study)
    study.set_defaults(run=thresholds.run)

    classes = commands.add_parser("balance", help="what is picked of each class, epoch by epoch")
    balance.add_arguments(classes)
    classes.set_defaults(run=balance.run)

    filters = commands.add_parser("smedas", help="accuracy filters by batch, by epoch, and both")
    smedas.add_arguments(filters)
    filters.set_defaults(run=smedas.run)

    judged = commands.add_parser("verdict", help="where importance sampling pays, and where not")
    verdict.add_arguments(judged)
    judged.set_defaults(run=verdict.run)

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

    again = commands.add_parser("guard", help="ratios beside committed ones: is any worse?")
    guard.add_arguments(again)
    again.set_defaults(run=guard.run)

    sizes = commands.add_parser("curves", help="operators and peers over sizes and dtypes")
    curves.add_arguments(sizes)
    sizes.set_defaults(run=curves.run)

    on_gpu = commands.add_parser("gpu", help="the operators on a GPU, checked and timed")
    gpu.add_arguments(on_gpu)
    on_gpu.set_defaults(run=gpu.run)

    saving = commands.add_parser("variance", help="what each way to draw saves")
    saving.add_argument("--out", type=Path, default=variance.RESULT)
    saving.set_defaults(run=lambda args: variance.main(args.out))

    several = commands.add_parser("ranks", help="rows of all ranks of a process group")
    several.add_argument("--out", type=Path, help="(none)")
    several.set_defaults(run=lambda args: ranks.main(args.out))

    write = commands.add_parser("readme", help="tables and figure of the pages from bench/results")
    write.add_argument(
        "--compare", type=Path, metavar="DIR", help="first take over this comparison"
    )
    write.set_defaults(run=run_readme)

    draw_plots = commands.add_parser("pictures", help="the figures of docs/pictures.md")
    recording.add_arguments(draw_plots)
    draw_plots.set_defaults(run=recording.run)

    report = commands.add_parser("report", help="all results as one HTML page")
    page.add_arguments(report)
    report.set_defaults(run=page.run)
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
