"""Rows of so many classes that threads share them out: whichever do, the results are the same."""

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from tests import reference

PART = 16_384  # classes that are summed up on their own
OPTIONS: dict[str, dict[str, float]] = {"plain": {}, "label smoothing": {"label_smoothing": 0.1}}


def rows_of(rows: int, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Peaks in other parts than the target's, masked classes, a part of nothing else."""
    generator = torch.Generator().manual_seed(classes)
    logits = (4 * torch.randn(rows, classes, generator=generator)).to(dtype)
    target = torch.randint(classes, (rows,), generator=generator)
    logits[:, -1] += 30
    logits[::2, : PART + 5] -= 20
    return logits, target


def masked(logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.clone()
    logits[:, 1::3] = -torch.inf
    logits[0, :PART] = -torch.inf
    return logits.scatter(1, target[:, None], 1.0)


def equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(map(torch.equal, a, b))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [PART - 1, PART + 1, 3 * PART, 70_000])
def test_neither_threads_nor_other_rows_change_a_row(
    classes: int, dtype: torch.dtype, options: dict[str, float]
) -> None:
    logits, target = rows_of(9, classes, dtype)
    for x in (logits, masked(logits, target)):
        torch.set_num_threads(1)
        alone = isf.row_stats(x, target, **options)
        kinds = [isf.score(x, target, kind, **options) for kind in ("grad_norm", "entropy")]
        for threads in (2, 3, 8):
            torch.set_num_threads(threads)
            for rows in (1, 2, 9):
                some = isf.row_stats(x[:rows], target[:rows], **options)
                assert equal(some, tuple(field[:rows] for field in alone)), (threads, rows)
        for kind, truth in zip(("grad_norm", "entropy"), kinds, strict=True):
            assert torch.equal(isf.score(x, target, kind, **options), truth)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_rows_in_parts_are_accurate(options: dict[str, float]) -> None:
    torch.set_num_threads(2)
    logits, target = rows_of(4, 70_000, torch.float32)
    for x in (logits, masked(logits, target)) if not options else (logits,):
        found = isf.row_stats(x, target, **options)
        truth = reference.row_stats(x, target, **options)
        for name, field in found._asdict().items():
            atol = 3e-7 if name in ("margin", "entropy") else 0.0
            true = getattr(truth, name)
            torch.testing.assert_close(field.double(), true, rtol=2e-6, atol=atol)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_wrong_with_a_row_is_told_whoever_finds_it(threads: int) -> None:
    torch.set_num_threads(threads)
    logits, target = rows_of(3, 70_000, torch.float32)
    wrong = logits.clone()
    wrong[1, 50_000], wrong[2, 3] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"logits\[1, 50000\] is nan"):
        isf.score(wrong, target)
    target[2] = 70_000
    with pytest.raises(IndexError, match=r"target\[2\] is 70000"):
        isf.score(logits, target)
    target[2], target[0] = 5, -100
    assert isf.score(logits, target)[0] == 0
    assert equal(isf.select(logits, target, 2, seed=1), isf.select(logits, target, 2, seed=1))
