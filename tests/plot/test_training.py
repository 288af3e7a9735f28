"""A history is what the metrics were, in bounded memory, and figures show it."""

import pytest
import torch
from torch import nn

import impsamp_fast as isf
from impsamp_fast import plot


def run(history: plot.History, steps: int, start: isf.StartRule | None = None) -> isf.Selector:
    torch.manual_seed(0)
    selector = isf.Selector(nn.Linear(2, 3), n=8, observe=history, start=start or isf.Always())
    for _ in range(steps):
        selector(torch.randn(32, 2), torch.randint(3, (32,)))
    return selector


def test_a_history_has_what_metrics_tell_and_the_scores_quantiles() -> None:
    history = plot.History(every=5)
    selector = run(history, 1)
    expected = selector.metrics(wait=True)
    history.flush()
    timeless = {k: v for k, v in expected.items() if not k.startswith("seconds/")}
    assert timeless.items() <= history.numbers[0].items()
    quantiles = history.quantiles[0]
    assert quantiles.shape == (101,)
    assert (quantiles.diff() >= 0).all()
    assert float(quantiles[-1]) == expected["score/max"]
    assert float(quantiles[50]) == expected["score/q50"]


def test_a_long_run_keeps_every_second_step_ever_more_seldom() -> None:
    history = plot.History(every=1, most=8)
    run(history, 50)
    history.flush()
    assert history.every == 8
    assert list(history.numbers) == list(history.quantiles) == list(range(0, 50, 8))


def test_steps_of_a_strategy_that_is_logged_are_kept() -> None:
    history = plot.History(every=1)
    selector = isf.Selector(nn.Linear(2, 3), n=8)
    for _ in range(3):
        selector(torch.randn(32, 2), torch.randint(3, (32,)))
        history.log(selector)
    assert list(history.numbers) == [0, 1, 2]
    assert len(plot.scores_over_training(history).axes[0].lines) == 2


@pytest.fixture(scope="module")
def history() -> plot.History:
    history = plot.History(every=1)
    run(history, 6, isf.After(2))
    return history


def test_scores_are_shown_where_steps_have_them(history: plot.History) -> None:
    for source in (history, list(history.numbers.values())):
        (ax,) = plot.scores_over_training(source).axes
        median, largest = ax.lines
        assert median.get_xdata().tolist() == [2, 3, 4, 5]
        assert largest.get_ydata().tolist() == [
            history.numbers[s]["score/max"] for s in range(2, 6)
        ]


def test_a_cdf_rises_from_the_least_to_the_largest_score(history: plot.History) -> None:
    lines = plot.score_cdf(history, moments=3).axes[0].lines
    assert [line.get_label() for line in lines] == ["step 2", "step 4", "step 5"]
    assert lines[0].get_xdata().tolist() == history.quantiles[2].tolist()
    assert lines[0].get_ydata()[[0, -1]].tolist() == [0, 1]

    selection = isf.select(torch.randn(64, 3), torch.zeros(64, dtype=torch.int64), 8)
    (line,) = plot.score_cdf(selection).axes[0].lines
    assert line.get_xdata()[-1] == float(selection.score.max())
    (line,) = plot.score_cdf(torch.tensor([3.0, 1.0, torch.nan])).axes[0].lines
    assert set(line.get_xdata()) == {1.0, 3.0}


def test_tau_is_left_out_of_uniform_steps(history: plot.History) -> None:
    upper, lower = plot.tau_over_training(history).axes
    tau, size = (ax.lines[0].get_ydata() for ax in (upper, lower))
    assert torch.tensor(tau).isnan().tolist() == [True, True, False, False, False, False]
    assert size[:2].tolist() == [8, 8]  # uniform rows have equal weights


def test_classes_have_a_row_each(history: plot.History) -> None:
    ax, _ = plot.classes_over_training(history, ["a", "b", "c"]).axes
    shares = torch.tensor(ax.collections[0].get_array())
    assert shares.shape == (3, 6)
    torch.testing.assert_close(shares.sum(0), torch.ones(6, dtype=torch.float64))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    one = plot.classes_over_training([{"step": 5, "class/0": 1.0}])
    assert one.axes[0].collections[0].get_array().tolist() == [[1.0]]


def test_a_run_without_the_numbers_is_told() -> None:
    for draw in (plot.scores_over_training, plot.tau_over_training, plot.classes_over_training):
        with pytest.raises(ValueError, match="no step of the run has"):
            draw([{"step": 1.0}])
    with pytest.raises(ValueError, match="no step has finite scores"):
        plot.score_cdf(plot.History())
    with pytest.raises(ValueError, match="most is 1, expected at least 2"):
        plot.History(most=1)
