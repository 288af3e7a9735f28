"""What RHO-loss needs before its run: losses of networks that have not seen the samples."""

from dataclasses import replace
from pathlib import Path

import torch

from bench.tasks.two_circles import sample
from bench.training import preparing
from bench.training.preparing import losses_by_halves, prepare
from bench.training.run import Training
from bench.training.strategies import known
from tests.bench.tiny_bench import QUICK_TASK, tiny_data


def test_every_sample_has_the_loss_of_a_network_that_has_not_seen_it(monkeypatch) -> None:
    data = replace(tiny_data(Path()), x=(x := sample(600, seed=1))[0], y=x[1])
    seen: list[set[int]] = []
    trained_on = preparing.trained_on

    def noted(index, task, data):
        seen.append(set(index.tolist()))
        return trained_on(index, task, data)

    monkeypatch.setattr(preparing, "trained_on", noted)
    torch.manual_seed(0)
    losses = losses_by_halves(QUICK_TASK, data)
    assert losses.shape == (600,)
    assert losses.isfinite().all()
    first, second = seen
    assert not first & second
    assert len(first | second) == 600


def test_wrong_labels_have_large_irreducible_losses() -> None:
    clean = tiny_data(Path())
    data = clean.with_wrong_labels(0.2)
    prepared, seconds = prepare(known()["rho-loss"], QUICK_TASK, data, seed=0)
    assert seconds > 0
    losses = prepared["irreducible"]
    wrong = data.y != clean.y
    assert losses[wrong].median() > losses[~wrong].median()


def test_it_leaves_the_run_as_it_would_be_and_takes_its_time() -> None:
    data = tiny_data(Path())
    uniform, rho = (
        Training(QUICK_TASK, data, known()[n], 0, "always") for n in ("uniform", "rho-loss")
    )
    for one, other in zip(uniform.model.parameters(), rho.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert rho.seconds > 0
    assert uniform.seconds == 0
    assert uniform.prepared == {}
