"""The ranks of a process group draw what one process draws from all their rows."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast import distributed
from impsamp_fast.distributed._draw import given_seed, share_of_draw
from impsamp_fast.distributed._ranks import Ranks
from tests.distributed.conftest import Run
from tests.distributed.problems import largest_n, most_rows_sent, problem
from tests.distributed.world import SIZES
from tests.methods import METHODS

PROBLEMS = 200  # of each number of ranks

by_weights_and_by_stages = pytest.mark.parametrize("most", [1 << 16, 30, 0])
every_size = pytest.mark.parametrize("size", SIZES)


def here(drawn: isf.Draw, sizes: list[int], rank: int) -> tuple[Tensor, Tensor]:
    """The rows and probabilities that are a rank's, of a draw from all rows."""
    begin = sum(sizes[:rank])
    mine = (drawn.index >= begin) & (drawn.index < begin + sizes[rank])
    return drawn.index[mine] - begin, drawn.prob[mine]


def draw_problems(group: Any, most: int) -> list[str]:
    """The problems that are drawn differently than in one process."""
    with most_rows_sent(most):
        return drawn_otherwise(group)


def drawn_otherwise(group: Any) -> list[str]:
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    wrong = []
    for number in range(PROBLEMS):
        given = problem(number, size)
        whole = torch.cat(given.weights)
        n = largest_n(whole, given.method, given.n)
        expected = isf.draw(whole, n, given.method, number)
        found = distributed.draw(given.weights[rank], n, given.method, number, group=group)
        sizes = [len(weights) for weights in given.weights]
        if not all(map(torch.equal, found, here(expected, sizes, rank))):
            wrong.append(f"{number}: {given.method}, n = {n} of {sizes}")
    return wrong


@every_size
@by_weights_and_by_stages
def test_all_ranks_draw_the_rows_of_one_process(run: Run, most: int, size: int) -> None:
    assert run(size, draw_problems, most) == [[]] * size


def draw_again_and_again(group: Any) -> list[int]:
    """Draws by ranks that remember how much room there must be; what was drawn otherwise."""
    ranks, wrong = Ranks(group), []
    for number in range(60):
        given = problem(number, ranks.size)
        whole, own = torch.cat(given.weights), given.weights[ranks.rank]
        sizes = [len(weights) for weights in given.weights]
        n = largest_n(whole, given.method, given.n)
        share = share_of_draw(ranks, lambda w=own: w, n, given.method, given_seed(number, None))
        mine = share.index >= 0
        expected = here(isf.draw(whole, n, given.method, number), sizes, ranks.rank)
        if not all(map(torch.equal, (share.index[mine], share.prob[mine]), expected)):
            wrong.append(number)
        assert ranks.room >= max(sizes)
    return wrong


def test_ranks_that_draw_again_and_again_draw_the_same(run: Run) -> None:
    assert run(3, draw_again_and_again) == [[]] * 3


def room_for(group: Any) -> list[int]:
    """How much room there is after draws from so many rows of each rank."""
    ranks, found = Ranks(group), []
    for rows in (60, 1000, 10, 10, 40_000, 10):
        weights = torch.ones(rows)
        share_of_draw(ranks, lambda w=weights: w, 5, "multinomial", given_seed(0, None))
        found.append(ranks.room)
    return found


def test_room_follows_what_is_needed(run: Run) -> None:
    # 80,000 rows of two ranks are too many to be sent.
    assert run(2, room_for) == [[64, 1024, 512, 256, 128, 64]] * 2


def draw_without_a_seed(group: Any) -> list[list[int]]:
    torch.manual_seed(dist.get_rank(group))
    found = []
    for method in METHODS:
        drawn = distributed.draw(torch.rand(50), 20, method, group=group)
        found.append(drawn.index.tolist())
    return found


def test_without_a_seed_rank_0_decides(run: Run) -> None:
    for drawn in zip(*run(3, draw_without_a_seed), strict=True):
        assert sum(map(len, drawn)) == 20


def error_of(group: Any, arguments: list[tuple[Any, ...]]) -> str:
    """What a rank with these arguments raises, and a sound draw after it."""
    rank = dist.get_rank(group)
    with pytest.raises((ValueError, TypeError)) as raised:
        distributed.draw(*arguments[rank], group=group)
    assert len(distributed.draw(torch.rand(3), 4, seed=0, group=group).index) <= 4
    return str(raised.value)


ROWS = torch.ones(3)
WRONG: dict[str, tuple[list[tuple[Any, ...]], str]] = {
    "shape": ([(ROWS, 2), (torch.ones(2, 2), 2)], "on rank 1: weights has shape"),
    "no tensor": ([(None, 2), (ROWS, 2)], "on rank 0: weights is NoneType"),
    "negative": ([(ROWS, 2), (-ROWS, 2)], "on rank 1: weights[0] is negative"),
    "nan": ([(ROWS * torch.nan, 2), (ROWS, 2)], "on rank 0: weights[0] is negative"),
    "n": ([(ROWS, 2), (ROWS, 3)], "n is 2 on rank 0, but 3 on rank 1: it must be the same"),
    "n of one": ([(ROWS, 2), (ROWS, 0)], "on rank 1: n is 0, expected at least 1"),
    "method": ([(ROWS, 2, "race"), (ROWS, 2, "pps")], "method is 'race' on rank 0, but 'pps'"),
    "seed": ([(ROWS, 2, "race", 3), (ROWS, 2, "race", 4)], "seed is 3 on rank 0, but 4 on rank 1"),
    "dtype": ([(ROWS, 2), (ROWS.double(), 2)], "the dtype of weights is torch.float32 on rank 0"),
    "unknown method": ([(ROWS, 2, "dice")] * 2, 'method is "dice"'),
    "too few": ([(ROWS, 5, "race"), (ROWS * 0, 5, "race")], "only 3 weights are positive"),
    "no rows": ([(ROWS[:0], 1), (ROWS[:0], 1)], "weights has no rows to draw from on any rank"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_on_one_rank_is_raised_on_all(
    run: Run, arguments: list[tuple[Any, ...]], message: str
) -> None:
    for rank, told in enumerate(run(2, error_of, arguments)):
        # A rank's own error needs no number; whose weights they are is found out by all.
        assert message.removeprefix(f"on rank {rank}: ") in told


def test_there_must_be_a_process_group() -> None:
    with pytest.raises(RuntimeError, match="init_process_group"):
        distributed.draw(ROWS, 2)
