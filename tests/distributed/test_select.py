"""The ranks of a process group select what one process selects from all their rows."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist

import impsamp_fast as isf
from impsamp_fast import distributed
from impsamp_fast._fill_up import fill_up
from impsamp_fast.distributed._draw import given_seed
from impsamp_fast.distributed._ranks import Ranks
from impsamp_fast.distributed._select import Scores, share_of_selection
from tests.distributed.conftest import Run
from tests.distributed.problems import CORRECTIONS, most_rows_sent, problem
from tests.distributed.test_draw import by_weights_and_by_stages, every_size
from tests.methods import METHODS, WITHOUT_REPLACEMENT

PROBLEMS = 200  # of each number of ranks


def select_problems(group: Any, most: int) -> list[str]:
    """The problems that are selected differently than in one process."""
    with most_rows_sent(most):
        return selected_otherwise(group)


def selected_otherwise(group: Any) -> list[str]:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    wrong = []
    for number in range(PROBLEMS):
        given = problem(number, size)
        n = given.n
        if given.method in WITHOUT_REPLACEMENT:
            n = min(n, int((torch.cat(given.target) != -100).sum()))
        options: dict[str, Any] = {
            "score": given.score,
            "method": given.method,
            "correction": given.correction,
            "smoothing": given.smoothing,
            "seed": number,
        }
        expected = isf.select(torch.cat(given.logits), torch.cat(given.target), n, **options)
        found = distributed.select(
            given.logits[rank], given.target[rank], n, group=group, **options
        )
        begin = sum(map(len, given.logits[:rank]))
        end = begin + len(given.logits[rank])
        mine = (expected.index >= begin) & (expected.index < end)
        same = (
            torch.equal(found.index, expected.index[mine] - begin)
            and torch.equal(found.weight, expected.weight[mine])
            and torch.equal(found.score, expected.score[begin:end])
            and torch.equal(found.loss, expected.loss[begin:end])
            and torch.allclose(found.tau, expected.tau, rtol=1e-5, atol=0)
            and found.tau.dtype == expected.tau.dtype
        )
        if not same:
            wrong.append(f"{number}: n = {n} of {list(map(len, given.logits))}, {options}")
    return wrong


@every_size
@by_weights_and_by_stages
def test_all_ranks_select_the_rows_of_one_process(run: Run, most: int, size: int) -> None:
    assert run(size, select_problems, most) == [[]] * size


def fill_up_problems(group: Any, most: int) -> list[str]:
    """Where fewer rows have a score than are to be drawn."""
    with most_rows_sent(most):
        return filled_up_otherwise(group)


def filled_up_otherwise(group: Any) -> list[str]:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    wrong = []
    for number in range(30):
        generator = torch.Generator().manual_seed(number)
        scores = torch.rand(size, 20, generator=generator)
        scores[torch.rand(scores.shape, generator=generator) < 0.9] = 0
        left_out = (torch.rand(scores.shape, generator=generator) < 0.5) & (scores == 0)
        n, correction = 15 * size, CORRECTIONS[number % 4]
        method = ("race", "pps")[number % 2]
        own = Scores(scores[rank], left_out[rank])
        found = share_of_selection(
            Ranks(group),
            partial(Scores, *own),
            *(n, "own", method, correction, 0.0, given_seed(number, None)),
            fills_up=True,
        )
        whole, none = scores.flatten(), left_out.flatten()
        index, prob = fill_up(whole, none, n, number)
        weight = isf.corrected(prob, whole[index], len(whole), "without replacement", correction)
        mine = index // 20 == rank
        same = torch.equal(found.index[mine], index[mine] - 20 * rank)
        if not (same and torch.equal(found.weight[mine], weight[mine])):
            wrong.append(str(number))
    return wrong


@by_weights_and_by_stages
def test_rows_without_a_score_fill_up(run: Run, most: int) -> None:
    assert run(3, fill_up_problems, most) == [[]] * 3


def error_of(group: Any, arguments: list[dict[str, Any]]) -> str:
    """What a rank with these arguments raises, and a sound selection after it."""
    sound = {"logits": torch.zeros(4, 3), "target": torch.zeros(4).long(), "n": 3}
    with pytest.raises((ValueError, TypeError, IndexError)) as raised:
        distributed.select(**(sound | arguments[dist.get_rank(group)]), group=group)
    distributed.select(**sound, group=group)
    return str(raised.value)


IGNORED = torch.full((4,), -100)
WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "target": ([{}, {"target": torch.tensor([0, 1, 5, 0])}], "target[2] is 5"),
    "logits": ([{"logits": torch.zeros(4, 3) / 0}, {}], "logits[0, 0]"),
    "score": ([{"score": "loss"}, {}], "score is 'loss' on rank 0, but 'grad_norm' on rank 1"),
    "correction": ([{}, {"correction": 0.5}], "correction is 'unbiased' on rank 0, but 0.5"),
    "smoothing": ([{}, {"smoothing": 2}], "smoothing is 2"),
    "ignored": ([{"target": IGNORED}] * 2, "target is ignore_index in every row"),
    "too few": (
        [{"n": 5, "method": "race"}, {"n": 5, "method": "race", "target": IGNORED}],
        "only 4",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_on_one_rank_is_raised_on_all(
    run: Run, arguments: list[dict[str, Any]], message: str
) -> None:
    for told in run(2, error_of, arguments):
        assert message in told


def weigh_by(group: Any, method: str) -> tuple[float, float]:
    """A rank's part of the estimate of the mean loss of all rows, and that mean."""
    rank = dist.get_rank(group)
    generator = torch.Generator().manual_seed(7)
    logits, target = torch.randn(60, 3, generator=generator), torch.arange(60) % 3
    part = slice(0, 20) if rank == 0 else slice(20, 60)
    n, estimate = 10, 0.0
    for seed in range(200):
        found = distributed.select(
            logits[part], target[part], n, method=method, seed=seed, group=group
        )
        estimate += float((found.weight * found.loss[found.index]).sum()) / n / 200
    return estimate, float(isf.score(logits, target, "loss").mean())


@pytest.mark.parametrize("method", METHODS[:-1])
def test_weighted_losses_of_all_ranks_are_unbiased(run: Run, method: str) -> None:
    (first, mean), (second, _) = run(2, weigh_by, method)
    assert abs(first + second - mean) < 0.05 * mean
