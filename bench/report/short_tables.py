"""The README's two tables: what calls cost, and where importance sampling pays."""

from statistics import fmean
from typing import Any

from bench.report import gpu_table, operator_tables
from bench.report.files import RESULTS, read_json
from bench.report.machine import one_line
from bench.report.results import runs_of, share_of_uniform, smoothed
from bench.report.table import table

# Cases of a result and their peers: what training calls, and those with the smallest ratios.
ON_CPU = [
    ("select, K=1024, n=128, C=10", "torch.compile"),
    ("select, K=4096, n=512, C=32000", "logits.sum()"),
    ("score with label smoothing, K=1024, C=10", "the same without"),
    ("draw, multinomial, K=1048576, n=65536", "torch.multinomial"),
    ("draw, topk, K=1024, n=128", "torch.topk"),
    ("Selector, Two Circles network, K=1024, n=128", "forward, select and gather by hand"),
]
ON_GPU = [
    ("select, K=1024, n=128, C=10, a call", "torch.compile"),
    ("row_stats: all five, 8192 x 128256 bfloat16", "torch.compile"),
    ("draw, race, K=16777216, n=16384", "torch.multinomial"),
    ("Two Circles step, K=1024, n=128, in one graph", "eager torch, uniform"),
    ("Two Circles step, K=1024, n=128, by a Selector, without a graph", "eager torch, uniform"),
]
# Strategies of a comparison: the defaults, the best, and what lies between.
JUDGED = {
    "two-circles": ["gradient-norm-cdf", "gradient-norm-cdf-unbiased", "kf18", "break-even"],
    "mnist": [
        "gradient-norm-cdf-unbiased",
        "gradient-norm-cdf-unbiased-pool4",
        "gradient-norm-cdf-unbiased-fast",
        "break-even",
    ],
    "mnist-compiled": ["gradient-norm-cdf-unbiased-fast", "break-even"],
}
WRONG_LABELS = ("mnist-wrong-labels", "gradient-norm-cdf")


def costs_markdown() -> str:
    """Calls on a CPU and a GPU beside their peers."""
    on_cpu, on_gpu = read_json(RESULTS / "ratios.json"), read_json(RESULTS / "gpu.json")
    cases = [case for part in on_gpu["parts"].values() for case in part.get("cases", [])]
    rows = [["CPU", *row] for row in _picked(on_cpu["cases"], ON_CPU)]
    rows += [["GPU", *row] for row in _picked(cases, ON_GPU)]
    machines = f"{one_line(on_cpu['machine'])}; and {gpu_table.gpu_line(on_gpu['machine'])}"
    lines = table(["on", *operator_tables.HEADINGS], rows)
    return "\n".join([*lines, "", f"Measured on {machines}."]) + "\n"


def _picked(cases: list[dict[str, Any]], wanted: list[tuple[str, str]]) -> list[list[str]]:
    rows = []
    for name, peer in wanted:
        (case,) = (case for case in cases if case["name"] == name)
        ours, theirs = (case["microseconds"][of]["median"] for of in (operator_tables.OURS, peer))
        times = [operator_tables.duration(time) for time in (ours, theirs)]
        rows.append([name, times[0], peer, times[1], operator_tables.ratio(theirs / ours)])
    return rows


def verdicts_markdown() -> str:
    """The time to uniform sampling's target over uniform's own, and what that means."""
    rows = []
    for result, names in JUDGED.items():
        found = read_json(RESULTS / f"{result}.json")
        for name in names:
            share = share_of_uniform(found, name, found["target"])
            assert share is not None
            label = found["strategies"][name]["label"]
            if found["strategies"][name]["correction"] == "none":
                label += ", not weighted"
            rows.append([result, label, str(share), share.word])
    result, name = WRONG_LABELS
    found = read_json(RESULTS / f"{result}.json")
    best = {of: highest(found, of) for of in ("uniform", name)}
    label = f"{found['strategies'][name]['label']}, not weighted"
    seen = f"{100 * best[name]:.1f}% for {100 * best['uniform']:.1f}%"
    rows.append([result, label, seen, "better" if best[name] > best["uniform"] else "worse"])
    lines = table(["training", "strategy", "over uniform's time", "so it is"], rows)
    return "\n".join(lines) + "\n"


def highest(results: dict[str, Any], strategy: str) -> float:
    """The mean over the seeds of the highest accuracy."""
    return fmean(max(smoothed(run["curve"]["accuracy"])) for run in runs_of(results, strategy))
