"""The tables of what operators cost, and of what the ways to draw save."""

from typing import Any

from bench.report.machine import measured_on
from bench.report.table import table

OURS = "impsamp_fast"  # among the candidates of a case
UNIFORM = "uniform"  # among the ways to draw
HEADINGS = ["what", OURS, "beside", "takes", "ratio"]


def ratios_markdown(result: dict[str, Any]) -> str:
    """The table, and what it was measured on."""
    return ratios_table(result) + f"\nMeasured on {measured_on(result)}.\n"


def ratios_table(result: dict[str, Any]) -> str:
    """One row per case and peer: ours, theirs, and how many times faster."""
    rows = []
    for case in result["cases"]:
        times = {name: value["median"] for name, value in case["microseconds"].items()}
        ours = times.pop(OURS)
        rows += [
            [case["name"], duration(ours), peer, duration(theirs), ratio(theirs / ours)]
            for peer, theirs in times.items()
        ]
    return "\n".join(table(HEADINGS, rows)) + "\n"


def peers_markdown(result: dict[str, Any]) -> str:
    """Which peers there were, and why the others were not; "" of results of format 1."""
    if "versions" not in result:
        return ""
    rows = []
    for peer, version in result["versions"].items():
        beside = sum(peer in case["microseconds"] for case in result["cases"])
        reasons = {case["missing"][peer] for case in result["cases"] if peer in case["missing"]}
        rows.append([peer, version or "-", str(beside), "; ".join(sorted(reasons)) or "-"])
    return "\n".join(table(["peer", "version", "cases", "missing elsewhere"], rows)) + "\n"


def best_peer(microseconds: dict[str, dict[str, float]]) -> tuple[str, float]:
    """The fastest that is not ours, and its median."""
    times = {name: value["median"] for name, value in microseconds.items() if name != OURS}
    name = min(times, key=lambda name: times[name])
    return name, times[name]


def against_markdown(result: dict[str, Any]) -> str:
    """One row per case: both builds' times, and ours by the other's with its quartiles."""
    rows = []
    for case in result["cases"]:
        times = (case[key]["median"] for key in ("microseconds", "microseconds_against"))
        ratios = (f"{case['ratio'][key]:.3f}" for key in ("median", "low", "high"))
        rows.append([case["name"], *map(duration, times), *ratios])
    lines = table(["what", "this tree", "that tree", "ratio", "from", "to"], rows)
    told = f"That tree: {result['tree']}. Measured on {measured_on(result)}."
    return "\n".join(lines) + f"\n\n{told}\n"


def duration(microseconds: float) -> str:
    if microseconds < 1e3:
        return f"{microseconds:.1f} µs"
    return f"{microseconds / 1e3:.1f} ms"


def ratio(value: float) -> str:
    digits = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def variance_markdown(result: dict[str, Any]) -> str:
    """Each variance as a share of uniform sampling's."""
    rows = ["| drawn by | mean loss | gradient |", "|---|---|---|"]
    uniform = result["variance"][UNIFORM]
    for name, variance in result["variance"].items():
        shares = (share(variance[key] / uniform[key]) for key in ("loss", "gradient"))
        rows.append(f"| {name} | {' | '.join(shares)} |")
    setting = (
        f"Two Circles after {result['steps']} steps, K={result['K']}, n={result['n']}, score "
        f'"grad_norm", {result["draws"]} mini-batches each; 1 is uniform rows without replacement.'
    )
    return "\n".join(rows) + f"\n\n{setting}\n"


def share(value: float) -> str:
    return f"{value:.2g}" if value < 1 else f"{value:.2f}"
