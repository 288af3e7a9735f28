"""The table of what was measured on a GPU, and what went wrong there."""

from typing import Any

from bench.report.machine import commits_of, one_line
from bench.report.operator_tables import HEADINGS, OURS
from bench.report.table import table

IN_GRAPH, UNIFORM_IN_GRAPH = "in one graph", "uniform in one graph"  # whole training steps


def problems(result: dict[str, Any]) -> list[str]:
    """What went wrong: parts that failed and checks that did not hold, each as a sentence."""
    parts = result["parts"]
    found = [
        f"{name} failed: {part['error'].splitlines()[-1]}"
        for name, part in parts.items()
        if part["error"]
    ]
    found += [
        f"{check['what']} is {check['found']:.3g}, at most {check['allowed']:.3g} is right"
        for check in parts.get("correctness", {}).get("checks", [])
        if not check["ok"]
    ]
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table, what was checked and counted, and the machine."""
    parts = result["parts"]
    lines = table(HEADINGS, [row for case in cases_of(result) for row in rows_of(case)])
    counted = parts.get("synchronisations", {})
    if "steps" in counted:
        each = ", ".join(f"{name} {n}" for name, n in counted["synchronisations"].items())
        lines += ["", f"Device synchronisations in {counted['steps']} training steps: {each}."]
    checks = parts.get("correctness", {}).get("checks", [])
    passed = sum(check["ok"] for check in checks)
    lines += ["", f"Checked first: {passed} of {len(checks)} comparisons held."]
    if bandwidth := parts.get("wide", {}).get("copy_bandwidth"):
        lines.append(f"A device copy reads and writes {bandwidth / 1e12:.2f} TB/s.")
    lines += [f"- {problem}" for problem in problems(result)]
    lines.append(f"Measured on {gpu_line(result['machine'])}; {commits_of(result)}.")
    return "\n".join(lines) + "\n"


def cases_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """All cases; a step by importance in a graph has the uniform one in a graph beside it."""
    cases = [case for part in result["parts"].values() for case in part.get("cases", [])]
    ours = {case["name"]: case["microseconds"][OURS] for case in cases}

    def beside_uniform(case: dict[str, Any]) -> dict[str, Any]:
        uniform = case["name"].replace(f", {IN_GRAPH}", f", {UNIFORM_IN_GRAPH}")
        if uniform == case["name"] or uniform not in ours:
            return case
        return case | {"microseconds": case["microseconds"] | {UNIFORM_IN_GRAPH: ours[uniform]}}

    return [beside_uniform(case) for case in cases]


def rows_of(case: dict[str, Any]) -> list[list[str]]:
    """One row per peer: our time, theirs, and theirs by ours."""
    times = {name: value["median"] for name, value in case["microseconds"].items()}
    ours = times.pop(OURS)
    return [
        [case["name"], duration(ours), peer, duration(theirs), f"{theirs / ours:.2f}"]
        for peer, theirs in times.items()
    ] or [[case["name"], duration(ours), "-", "-", "-"]]


def duration(microseconds: float) -> str:
    return f"{microseconds:.1f} µs" if microseconds < 1e3 else f"{microseconds / 1e3:.2f} ms"


def gpu_line(described: dict[str, Any]) -> str:
    cuda = f"CUDA {described['cuda']}, " if described["cuda"] else ""
    return f"{described['gpu']}, driver {described['driver']}, {cuda}{one_line(described)}"
