"""Selector.tune takes the fastest scoring pass of those that score alike."""

import time

import pytest
import torch
from torch import Tensor, nn

from impsamp_fast import After, ScoringPass, Selector
from tests.toy import C, K, N

Batch = tuple[Tensor, Tensor]


class Slow(nn.Linear):
    """Takes long for more than N rows at a time, and for each call a little."""

    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.02 if x.shape[0] > N else 0.001)
        return super().forward(x)


def tuned(model: nn.Module, data: Batch, **options: float) -> tuple[Selector, ScoringPass]:
    selector = Selector(model, N, seed=0, start=After(3))
    before = selector.state_dict()
    scoring = selector.tune(*data, **{"seconds": 2.0} | options)
    assert selector.state_dict() == before
    return selector, scoring


def test_the_fastest_chunk_is_taken(data: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    selector, scoring = tuned(Slow(5, C), data)
    assert scoring.chunk == N
    assert selector.scoring is scoring
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"scoring pass of {K} rows")
    assert printed[1].startswith(repr(scoring))
    assert printed[-1] == f"taken: {scoring}"
    assert any(line.startswith("ScoringPass() ") for line in printed)
    assert selector(*data).index.numel() == N


def test_what_changes_the_scores_is_not(data: Batch) -> None:
    class Rough(Slow):
        @torch.compiler.disable
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 if x.shape[0] > N else 2)

    assert tuned(Rough(5, C), data)[1].chunk not in (N, N // 2)
    assert tuned(Rough(5, C), data, tolerance=100.0)[1].chunk == N


def test_what_fails_is_told_and_not_taken(data: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    class Refusing(Slow):
        @torch.compiler.disable
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[0] <= N:
                raise RuntimeError("too few rows\nin this call")
            return super().forward(x)

    assert tuned(Refusing(5, C), data)[1].chunk not in (N, N // 2)
    printed = capsys.readouterr().out.splitlines()
    (line,) = (line for line in printed if line.startswith(f"ScoringPass(chunk={N})"))
    assert line.endswith("-  RuntimeError: too few rows")


def test_a_model_that_cannot_be_scored_raises(data: Batch) -> None:
    selector = Selector(nn.Linear(4, C), N)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        selector.tune(*data)
    assert selector.scoring is None


def test_other_settings_stay(data: Batch) -> None:
    model = Slow(5, C)
    twice = ScoringPass(model=lambda x: (2 * model(x),), logits=lambda output: output[0])
    selector = Selector(model, N, scoring=twice)
    scoring = selector.tune(*data, seconds=2.0)
    assert (scoring.chunk, scoring.model, scoring.logits) == (N, twice.model, twice.logits)


def test_a_score_function_gets_what_it_takes(data: Batch) -> None:
    def score(logits: Tensor, y: Tensor, x: Tensor, index: Tensor) -> Tensor:
        return (logits.sum(-1) + x.sum(-1) + index).abs()

    selector = Selector(Slow(5, C), N, score=score)
    assert selector.tune(*data, torch.arange(K), seconds=1.0).chunk == N
    with pytest.raises(ValueError, match="index is missing"):
        selector.tune(*data)
