"""What papers found beside what results say: the rules, by results made up."""

from typing import Any

import pytest

from bench.report import claims
from bench.report.claims import Claim


def results(accuracies: dict[str, list[float]], seeds: int = 3, **further: Any) -> dict[str, Any]:
    """Runs of each strategy that are the same with all seeds, with an evaluation a second."""

    def run(strategy: str, accuracy: list[float], seed: int) -> dict[str, Any]:
        moments = list(range(1, len(accuracy) + 1))
        curve = {"step": moments, "seconds": moments, "accuracy": accuracy}
        return {"strategy": strategy, "seed": seed, "importance_steps": 1, "curve": curve}

    return {
        "settings": {"task": "mnist", "pool": 10_000},
        "target": 0.75,
        "strategies": {name: {"label": name.replace("-", " ")} for name in accuracies},
        "runs": [run(*of, seed) for seed in range(seeds) for of in accuracies.items()],
        **further,
    }


UNIFORM = [0.5, 0.5, 0.75, 0.75, 0.75, 0.75]
GOOD, BAD = [0.75] * 3 + [0.875] * 3, [0.25] * 6
ACCURACIES = {
    "uniform": UNIFORM,
    "highest-loss": BAD,
    "highest-loss-cdf": GOOD,
    "gradient-norm": GOOD,
    "gradient-norm-cdf": GOOD,
}
KNUTSSON = results(ACCURACIES)


@pytest.mark.parametrize(
    ("check", "text", "same"),
    [
        (
            claims.sooner(claims.BY_LOSS, expected=True),
            "of its time: highest loss not reached, highest loss cdf 0.60 (0.60 to 0.60)",
            "partly",
        ),
        (
            claims.sooner(claims.BY_NORM, expected=False),
            "of its time: gradient norm 0.60 (0.60 to 0.60), gradient norm cdf 0.60 (0.60 to 0.60)",
            "no",
        ),
        (
            claims.NORM_IS_LOSS,
            "of its steps: gradient norm -, gradient norm cdf 1.00 (1.00 to 1.00)",
            "too few seeds",
        ),
        (
            claims.CDF_BEATS_TOP,
            "points at the end: highest loss cdf +62.50 (+62.50 to +62.50), "
            "gradient norm cdf +0.00 (+0.00 to +0.00)",
            "partly",
        ),
        (
            claims.CDF_BEATS_UNIFORM,
            "points at the end: highest loss cdf +12.50 (+12.50 to +12.50), "
            "gradient norm cdf +12.50 (+12.50 to +12.50)",
            "yes",
        ),
    ],
)
def test_claims_about_a_comparison(check: Any, text: str, same: str) -> None:
    assert check(KNUTSSON) == (text, same)


@pytest.mark.parametrize("check", [claims.sooner(claims.BY_LOSS, True), claims.CDF_BEATS_TOP])
def test_two_seeds_say_nothing(check: Any) -> None:
    assert check(results(ACCURACIES, seeds=2))[1] == "too few seeds"


def test_where_uniform_sampling_does_not_reach_the_target_nothing_is_said() -> None:
    check = claims.sooner(claims.BY_NORM, expected=False)
    text = "of its time: gradient norm -, gradient norm cdf -"
    assert check(KNUTSSON | {"target": 0.8}) == (text, "too few seeds")


def test_as_soon_is_neither_sooner_nor_later() -> None:
    alike = results(dict.fromkeys(ACCURACIES, UNIFORM))
    for expected in (True, False):
        assert claims.sooner(claims.BY_NORM, expected)(alike)[1] == "no"


def test_as_many_steps_are_as_good() -> None:
    accuracies = dict.fromkeys(ACCURACIES, GOOD)
    assert claims.NORM_IS_LOSS(results(accuracies))[1] == "yes"
    found = claims.NORM_IS_LOSS(results(accuracies | {"gradient-norm": UNIFORM}))
    text = "gradient norm 1.67 (1.67 to 1.67), gradient norm cdf 1.00 (1.00 to 1.00)"
    assert found == (f"of its steps: {text}", "partly")


def test_seeds_that_do_not_agree_beat_nothing() -> None:
    found = results(dict.fromkeys(ACCURACIES, UNIFORM) | {"highest-loss-cdf": GOOD})
    assert claims.NONE_BEATS_UNIFORM(found)[1] == "partly"
    (run, *_) = (r for r in found["runs"] if r["strategy"] == "highest-loss-cdf")
    run["curve"]["accuracy"] = BAD
    text, same = claims.NONE_BEATS_UNIFORM(found)
    assert "highest loss cdf -8.33 (-50.00 to +12.50)" in text
    assert same == "yes"


def test_claims_about_thresholds() -> None:
    found = results({"uniform": UNIFORM, "top@0.8": GOOD, "top@0.3": UNIFORM})
    for strategy in ("top@0.8", "top@0.3"):
        found["strategies"][strategy]["label"] = f"top, {strategy[-3:]}"
    assert claims.every_threshold_wins(found) == ("1 of 2 do", "partly")
    assert claims.smallest_is_latest(found) == ("the latest is 0.3", "yes")
    for run in found["runs"]:
        run["curve"]["accuracy"] = UNIFORM if run["strategy"] == "uniform" else BAD
    assert claims.smallest_is_latest(found) == ("the latest are 0.8, 0.3", "partly")


def test_claims_about_filters() -> None:
    def run(way: str, accuracy: float, worst: float) -> dict[str, Any]:
        test = {"accuracy": accuracy, "worst": worst}
        return {"strategy": f"mnist/lenet/1024/{way}", "seed": 0, "test": test}

    runs = [run("uniform", 0.9, 5.0), run("epochwise", 0.8, 6.0), run("hard-accuracy", 0.7, 7.0)]
    # What is not a filter, or has no uniform sampling beside it, has no say.
    runs += [run("top-k", 0.95, 1.0), run("epochwise+top-k", 0.95, 1.0)]
    runs += [run("hard-accuracy", 0.9, 1.0) | {"strategy": "mnist/lenet/128/hard-accuracy"}]
    found = {"settings": {}, "runs": runs}
    assert claims.filter_is_below_uniform(found) == ("2 of 2 filters are", "yes")
    assert claims.filter_has_lower_worst(found) == ("0 of 2 filters do", "no")


def test_claims_about_balance() -> None:
    found = results(
        {"uniform": UNIFORM, "early-importance": GOOD},
        classes={"names": ["0", "1"], "shares": [0.9, 0.1]},
    )
    curves = [r["curve"] for r in found["runs"] if r["strategy"] == "early-importance"]
    for curve in curves:
        curve["picked_classes"] = [[90, 10], [70, 30]]
    assert claims.classes_balance(found) == (
        "the distance from balance goes from 0.40 to 0.20",
        "partly",
    )
    for curve in curves:
        curve["picked_classes"][-1] = [50, 50]
    assert claims.classes_balance(found)[1] == "yes"
    text = "+12.50 (+12.50 to +12.50) points in 1.00 of uniform sampling's time"
    assert claims.more_accurate(found) == (text, "yes")
    found["runs"] = [run for run in found["runs"] if run["seed"] < 2]
    assert claims.more_accurate(found) == (text, "too few seeds")
    found["classes"]["shares"] = [0.5, 0.5]
    text = "their distance from balance is 0.00"
    assert claims.classes_balance(found) == (text, "the data are balanced")


def test_only_what_was_measured_is_told() -> None:
    claim = Claim("it works", lambda _: ("so it does", "yes"), about=("uniform",))
    unknown = Claim("it works", lambda _: ("no", "no"), about=("unheard-of",))
    text = claims.markdown([claim, unknown], KNUTSSON)
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]]
    assert cells == ["it works", "so it does", "yes"]
    assert len(text.splitlines()) == 3
    assert "none of its claims is decided" in claims.markdown([unknown], KNUTSSON)
    assert claims.markdown([], KNUTSSON) == ""


def test_a_strategy_that_never_began_decides_nothing() -> None:
    claim = Claim("none wins", claims.NONE_BEATS_UNIFORM, claims.PAPER)
    found = results(dict.fromkeys(ACCURACIES, UNIFORM))
    assert claims.decided(claim, found)[1] == "yes"
    for run in found["runs"]:
        run["importance_steps"] = int(run["strategy"] == "highest-loss")
    never = "gradient norm, highest loss cdf, gradient norm cdf"
    assert claims.decided(claim, found)[1] == f"never began: {never}"
