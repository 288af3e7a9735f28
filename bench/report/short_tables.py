"""The README's two tables: what calls cost, and where importance sampling pays."""

from typing import Any

from bench.report import gpu_table, operator_tables, verdict
from bench.report.files import RESULTS, read_json
from bench.report.machine import one_line
from bench.report.table import table

# Cases of a result and their peers: what training calls, and those with the smallest ratios.
ON_CPU = [
    ("select, K=1024, n=128, C=10", "torch.compile"),
    ("select, K=4096, n=512, C=32000", "logits.sum()"),
    ("score with label smoothing, K=1024, C=10", "the same without"),
    ("forward and score, Two Circles network, K=1024", "Opacus"),
    ("draw, multinomial, K=1048576, n=65536", "torch.multinomial"),
    (
        "draw, multinomial, K=1048576, n=128, after 128 weights have changed",
        "torchrl's PrioritizedSampler",
    ),
    ("draw, topk, K=1024, n=128", "torch.topk"),
    ("Selector, Two Circles network, K=1024, n=128", "forward, select and gather by hand"),
]
ON_GPU = [
    ("select, K=1024, n=128, C=10, a call", "torch.compile"),
    ("row_stats: all five, 8192 x 128256 bfloat16", "torch.compile"),
    ("draw, race, K=16777216, n=16384", "torch.multinomial"),
    ("Two Circles step, K=1024, n=128, in one graph", gpu_table.UNIFORM_IN_GRAPH),
    ("Two Circles step, K=1024, n=128, by a Selector, without a graph", "eager torch, uniform"),
]
VERDICT_HEADINGS = [
    "training",
    "epochs",
    "default",
    "best",
    "over the strongest baseline",
    "points at the end, over the most accurate",
    "weakest",
]


def costs_markdown() -> str:
    """Calls on a CPU and a GPU beside their peers."""
    on_cpu, on_gpu = read_json(RESULTS / "ratios.json"), read_json(RESULTS / "gpu.json")
    rows = [["CPU", *row] for row in _picked(on_cpu["cases"], ON_CPU)]
    rows += [["GPU", *row] for row in _picked(gpu_table.cases_of(on_gpu), ON_GPU)]
    machines = f"{one_line(on_cpu['machine'])}; and {gpu_table.gpu_line(on_gpu['machine'])}"
    lines = table(["on", *operator_tables.HEADINGS], rows)
    return "\n".join([*lines, "", f"Measured on {machines}."]) + "\n"


def _picked(cases: list[dict[str, Any]], wanted: list[tuple[str, str]]) -> list[list[str]]:
    """Of those that are wanted the ones that were measured: not every peer is installed."""
    found = {case["name"]: case["microseconds"] for case in cases}
    rows = []
    for name, peer in wanted:
        if peer not in found.get(name, {}):
            continue
        ours, theirs = (found[name][of]["median"] for of in (operator_tables.OURS, peer))
        times = [operator_tables.duration(time) for time in (ours, theirs)]
        rows.append([name, times[0], peer, times[1], operator_tables.ratio(theirs / ours)])
    return rows


def verdicts_markdown() -> str:
    """How many choices of rows pay in all, and three of each training, at tuned rates if it was."""
    results = verdict.comparisons()
    rows = [verdict_cells(verdict.judge(result)) for result in verdict.latest(results)]
    lines = [
        *verdict.summary([verdict.judge(result) for result in results]),
        "",
        *table(VERDICT_HEADINGS, rows),
    ]
    return "\n".join(lines) + "\n"


def verdict_cells(judged: verdict.Judged) -> list[str]:
    best, weakest, baseline = judged.choices[0], judged.choices[-1], judged.strongest
    default = "not measured" if judged.default is None else str(judged.default.time)
    over = (
        verdict.ALONE
        if judged.has_uniform_alone
        else f"{best.time_over_strongest}: {baseline.label}"
    )
    return [
        judged.title,
        f"{judged.epochs:.1f}",
        default,
        f"{best.label}: {best.time}",
        over,
        f"{best.points}: {judged.most_accurate.label}",
        f"{weakest.label}: {weakest.time}",
    ]
