"""The table of ratios now and before."""

from dataclasses import dataclass

from bench.report.table import table

ALLOWED = 1.2  # of a ratio over the one before


@dataclass(frozen=True)
class Compared:
    """A case's time over its best peer's, in a committed result and now."""

    name: str
    before: float
    now: float

    @property
    def is_worse(self) -> bool:
        return self.now > ALLOWED * self.before


def markdown(compared: list[Compared]) -> str:
    """One row per case, and how many are worse."""
    rows = [
        [
            case.name,
            f"{case.before:.3g}",
            f"{case.now:.3g}",
            f"{100 * (case.now / case.before - 1):+.0f}%",
            "worse" if case.is_worse else "kept",
        ]
        for case in compared
    ]
    lines = table(["time over the best peer's", "before", "now", "change", "so it is"], rows)
    worse = sum(case.is_worse for case in compared)
    told = f"{worse} of {len(compared)} cases are more than {100 * (ALLOWED - 1):.0f}% worse."
    return "\n".join([*lines, "", told]) + "\n"
