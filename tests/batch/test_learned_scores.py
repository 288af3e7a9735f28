"""Scores that learn from the steps: each beside its equation, and what a Selector makes of them."""

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import strategies
from impsamp_fast.batch.selector import Selector
from tests.elsewhere import Elsewhere, accelerator, elsewhere
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 100


def large_batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose logits are x, of different samples."""
    generator = torch.Generator().manual_seed(step)
    x = 2 * torch.randn(K, C, generator=generator)
    y = torch.randint(C, (K,), generator=generator)
    return x, y, torch.randperm(SIZE, generator=generator)[:K]


def losses_of(x: Tensor, y: Tensor) -> np.ndarray:
    return F.cross_entropy(x.double(), y, reduction="none").numpy()


def here(tensor: Tensor) -> Tensor:
    return tensor.values if isinstance(tensor, Elsewhere) else tensor


class EvolvedReference:
    """The moving averages in double precision."""

    def __init__(self, beta1: float, beta2: float) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.s = np.full(SIZE, np.nan)

    def step(self, losses: np.ndarray, index: np.ndarray) -> np.ndarray:
        s = np.where(np.isnan(self.s[index]), losses, self.s[index])
        self.s[index] = self.beta2 * s + (1 - self.beta2) * losses
        return self.beta1 * s + (1 - self.beta1) * losses


def evolved(**options: Any) -> Selector:
    return strategies.make("es", nn.Identity(), N, **{"seed": 3} | options)


class TestEvolvedScore:
    @pytest.mark.parametrize(("beta1", "beta2"), [(0.2, 0.9), (0.0, 0.5), (1.0, 0.0)])
    @pytest.mark.parametrize("size", [None, SIZE])
    def test_is_that_of_the_equation(self, beta1, beta2, size):
        selector = evolved(beta1=beta1, beta2=beta2, size=size)
        reference = EvolvedReference(beta1, beta2)
        for step in range(6):
            x, y, index = large_batch(step)
            found = selector.scores(x, y, index)
            expected = reference.step(losses_of(x, y), index.numpy())
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            selector(x, y, index)
        averages = selector.score.averages().numpy()
        np.testing.assert_allclose(averages, reference.s[: len(averages)], rtol=1e-5)

    def test_draws_different_rows_by_it(self):
        selector, expected = (
            evolved(),
            Selector(nn.Identity(), N, score="loss", method="race", correction="none", seed=3),
        )
        x, y, index = large_batch(0)
        # Nothing is known of any sample: by their losses.
        batch = selector(x, y, index)
        assert torch.equal(batch.index, expected(x, y, index).index)
        assert batch.index.unique().numel() == N
        assert batch.weight.tolist() == [1.0] * N

    def test_learns_once_from_a_pool(self):
        one, pool = evolved(), evolved(batches_per_pool=3)
        for step in range(3):
            one(*large_batch(step))
            for _ in pool.batches([large_batch(step)]):
                pass
        assert torch.equal(
            one.score.averages().nan_to_num(-1), pool.score.averages().nan_to_num(-1)
        )

    def test_does_not_learn_from_steps_that_draw_uniformly(self):
        selector = evolved(start=isf.After(2))
        for step in range(2):
            assert not selector(*large_batch(step)).importance
        assert selector.score.averages().isnan().all()
        selector(*large_batch(2))
        assert not selector.score.averages().isnan().all()

    def test_learns_from_the_rows_that_a_start_rule_looks_at(self):
        selector = evolved(start=isf.VarianceReduction(1e9))
        selector(*large_batch(0))
        assert (~selector.score.averages().isnan()).sum() == N

    def test_leaves_rows_without_a_target_alone(self):
        selector = evolved()
        x, y, index = large_batch(0)
        y[::2] = -100
        batch = selector(x, y, index)
        assert (batch.y >= 0).all()
        known = (~selector.score.averages().isnan()).nonzero().squeeze(1)
        assert sorted(known.tolist()) == sorted(index[1::2].tolist())

    def test_losses_are_those_of_the_selector(self):
        weight = torch.tensor([1.0, 5.0, 0.5])
        selector = evolved(label_smoothing=0.1, class_weight=weight)
        x, y, index = large_batch(0)
        expected = F.cross_entropy(x, y, weight, label_smoothing=0.1, reduction="none")
        torch.testing.assert_close(selector.scores(x, y, index), expected)

    def test_needs_numbers_of_samples(self):
        x, y, index = large_batch(0)
        with pytest.raises(ValueError, match="index is missing"):
            evolved()(x, y)
        selector = evolved(size=SIZE)
        with pytest.raises(IndexError, match=f"there are {SIZE} samples"):
            selector(x, y, index + 50)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"beta1": 1.5}, ValueError, "beta1 is 1.5, expected"),
            ({"beta2": "a"}, TypeError, "beta2 is 'a', expected a number"),
            ({"size": 0}, ValueError, "size is 0, expected at least 1"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            isf.EvolvedScore(**arguments)


class Small(nn.Module):
    """With dropout, which asks torch for random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(C, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, C))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def small() -> Small:
    model = Small()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def trained_along(seed: int = 3, holdout: int = 40) -> Selector:
    model = small()
    x, y, _ = large_batch(1000)
    return strategies.make(
        "rho-loss",
        nn.Identity(),
        N,
        irreducible=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.05),
        holdout=(x[:holdout], y[:holdout]),
        seed=seed,
    )


class TestReducibleLoss:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_by_number_takes_the_largest_differences(self, dtype):
        there = 3 * torch.rand(SIZE, dtype=dtype)
        selector = strategies.make("rho-loss", nn.Identity(), N, irreducible=there, seed=0)
        x, y, index = large_batch(0)
        expected = losses_of(x, y) - there.double().numpy()[index]
        batch = selector(x, y, index)
        assert set(batch.index.tolist()) == set(index[np.argsort(-expected)[:N].copy()].tolist())
        assert batch.weight.tolist() == [1.0] * N
        np.testing.assert_allclose(selector.scores(x, y, index), expected, atol=1e-5)

    def test_by_a_model(self):
        model = small()
        selector = strategies.make("rho-loss", nn.Identity(), N, irreducible=model, seed=0)
        x, y, _ = large_batch(0)
        there = losses_of(model.eval()(x).detach(), y)
        model.train()
        found = selector.scores(x, y)
        np.testing.assert_allclose(found, losses_of(x, y) - there, rtol=1e-4, atol=1e-5)
        assert model.training
        before = selector.score.irreducible.state_dict()
        selector(x, y)
        after = selector.score.irreducible.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)

    def test_a_model_is_trained_along(self):
        selector = trained_along()
        x, y = selector.score.holdout
        model = selector.score.irreducible
        first = losses_of(model.eval()(x).detach(), y).mean()
        model.train()
        state = torch.get_rng_state()
        for step in range(80):
            selector(*large_batch(step)[:2])
        assert torch.equal(torch.get_rng_state(), state)
        assert losses_of(model.eval()(x).detach(), y).mean() < 0.7 * first
        assert model.layers[0].weight.grad is not None
        assert selector.model.training

    def test_its_share_of_a_step_is_told(self):
        selector = trained_along()
        for step in range(4):
            selector(*large_batch(step)[:2])
        report = selector.report()
        assert report.second_model > 0
        parts = (report.scoring, report.selection, report.gather, report.training)
        assert all(part > 0 for part in parts)
        assert "second model" in str(report)
        untrained = evolved()
        for step in range(4):
            untrained(*large_batch(step))
        assert untrained.report().second_model == 0
        assert "second model" not in str(untrained.report())

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"irreducible": [1.0]}, TypeError, "irreducible is list, expected losses or a model"),
            ({"irreducible": torch.ones(2, 2)}, TypeError, r"of shape \[2, 2\], expected losses"),
            ({"irreducible": torch.arange(3)}, TypeError, "a tensor of torch.int64"),
            ({"irreducible": small(), "optimizer": 1}, ValueError, "belong together"),
            (
                {"irreducible": small(), "optimizer": 1, "holdout": large_batch(0)[:2]},
                TypeError,
                "optimizer is 1, expected an optimiser or None",
            ),
            ({"irreducible": torch.ones(3), "optimizer": 1}, ValueError, "no model to train"),
            ({"irreducible": small(), "n": 0}, ValueError, "n is 0, expected at least 1"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, error, message):
        with pytest.raises(error, match=message):
            isf.ReducibleLoss(**arguments)


class TestIrreducibleLosses:
    def test_are_those_of_each_sample(self):
        model = small()
        batches = [large_batch(step) for step in range(2)]
        found = isf.irreducible_losses(model, batches, SIZE).numpy()
        expected = np.full(SIZE, np.nan)
        for x, y, index in batches:
            expected[index] = losses_of(model.eval()(x).detach(), y)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_a_number_of_no_sample_is_named(self):
        with pytest.raises(IndexError, match="there are 10 samples"):
            isf.irreducible_losses(small(), [large_batch(0)], 10)


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("make", [evolved, trained_along], ids=["table", "second model"])
def test_a_saved_run_goes_on_as_it_would_have(make):
    whole, resumed = make(), make(seed=4)
    for step in range(5):
        whole(*large_batch(step))
    resumed.load_state_dict(saved_and_loaded(whole.state_dict()))
    for step in range(5, 10):
        expected = whole(*large_batch(step)).index
        assert torch.equal(resumed(*large_batch(step)).index, expected)


def test_a_state_is_a_copy():
    selector = trained_along()
    selector(*large_batch(0)[:2])
    state = selector.state_dict()
    before = str(state)
    for step in range(1, 4):
        selector(*large_batch(step)[:2])
    assert str(state) == before
    selector.load_state_dict(state)
    selector(*large_batch(1)[:2])
    assert str(state) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"score": {}}, KeyError, "the state of a ReducibleLoss has the keys"),
        ({"start": {"average": 1}}, KeyError, "the state of a Always has the keys"),
        ({"counts": {}}, ValueError, "counts picks"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    selector, other = trained_along(), trained_along(seed=4)
    for step in range(2):
        other(*large_batch(step)[:2])
    before = str(selector.state_dict())
    with pytest.raises(error, match=message):
        selector.load_state_dict(other.state_dict() | change)
    assert str(selector.state_dict()) == before


def test_a_state_of_another_model_is_refused():
    selector, state = trained_along(), trained_along().state_dict()
    del state["score"]["model"]["model"]["layers.0.bias"]
    with pytest.raises(ValueError, match=r"the second model's state has layers.0.weight \[4, 3\]"):
        selector.load_state_dict(state)
    with pytest.raises(KeyError, match="has the keys"):
        Selector(nn.Identity(), N).load_state_dict(state)


class TestFaults:
    def test_the_cpu_raises_and_nothing_is_learned(self):
        selector, expected = evolved(size=SIZE), evolved(size=SIZE)
        x, y, index = large_batch(0)
        for other in (selector, expected):
            other(x, y, index)
        x[5] = torch.nan
        with pytest.raises(ValueError, match=r"logits\[5, 0\]"):
            selector(x, y, index)
        assert str(selector.state_dict()) == str(expected.state_dict())

    @pytest.mark.parametrize("move", [torch.clone, elsewhere], ids=["CPU", "accelerator"])
    def test_a_row_that_is_skipped_is_not_learned(self, move):
        expected = evolved(size=SIZE)
        with accelerator():
            selector = evolved(size=SIZE, on_fault="skip")
            for step in range(4):
                x, y, index = large_batch(step)
                ignored = y.clone()
                ignored[5] = -100
                drawn = expected(x, ignored, index).index
                x[5] = torch.nan
                found = selector(move(x), move(y), move(index)).index
                assert here(found).tolist() == drawn.tolist()
            assert selector.faulty_rows == 4
            averages = selector.score.averages()
        torch.testing.assert_close(averages, expected.score.averages(), equal_nan=True)

    def test_an_accelerator_is_not_waited_for(self):
        Elsewhere.waits = Elsewhere.copies = 0
        with accelerator():
            selector = evolved(size=SIZE)
            for step in range(10):
                selector(*map(elsewhere, large_batch(step)))
        assert Elsewhere.waits + Elsewhere.copies == 0

    def test_an_accelerator_learns_nothing_from_a_step_that_fails(self):
        with accelerator():
            selector = evolved(size=SIZE)
            selector(*map(elsewhere, large_batch(0)))
            before = selector.score.averages()
            x, y, index = large_batch(1)
            x[5] = torch.nan
            batch = selector(*map(elsewhere, (x, y, index)))
            assert not batch.weight.values.any()
            after = selector.score.averages()
        torch.testing.assert_close(after, before, equal_nan=True)


def test_a_graph_does_not_take_them():
    selector = evolved()
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="score=EvolvedScore, which learns from each step"):
        isf.GraphStep(selector, optimizer)
