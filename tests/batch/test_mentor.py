"""MentorNet: the curriculum beside its equation, and the network that learns it."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import strategies
from tests.elsewhere import Elsewhere, accelerator, elsewhere
from tests.toy import C, K, N

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 200


def large_batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = (1 + step / 10) * torch.randn(K, C, generator=generator)
    y = torch.randint(C, (K,), generator=generator)
    return x, y, torch.randperm(SIZE, generator=generator)[:K]


def losses_of(x: Tensor, y: Tensor) -> np.ndarray:
    return F.cross_entropy(x.double(), y, reduction="none").numpy()


class Reference:
    """The curriculum in double precision."""

    def __init__(self, percentile: float, slope: float, decay: float) -> None:
        self.percentile, self.slope, self.decay = percentile, slope, decay
        self.average = math.nan

    def step(self, losses: np.ndarray) -> np.ndarray:
        found = np.quantile(losses, self.percentile)
        if math.isnan(self.average):
            self.average = found
        self.average = self.decay * self.average + (1 - self.decay) * found
        if self.slope == 0:
            return (losses <= self.average).astype(float)
        return np.clip(1 - (losses - self.average) / self.slope, 0, 1)


class TestCurriculum:
    @pytest.mark.parametrize(
        ("percentile", "slope", "decay"), [(0.75, 0.0, 0.9), (0.5, 0.7, 0.5), (0.3, 2.0, 0.0)]
    )
    def test_is_that_of_the_equation(self, percentile, slope, decay):
        selector = strategies.make(
            *("mentornet-pd", nn.Identity(), N),
            percentile=percentile,
            slope=slope,
            decay=decay,
            seed=0,
        )
        reference = Reference(percentile, slope, decay)
        for step in range(6):
            x, y, _ = large_batch(step)
            v = reference.step(losses_of(x, y))
            np.testing.assert_allclose(selector.scores(x, y), v, rtol=1e-4, atol=1e-5)
            batch = selector(x, y)
            assert (v[batch.index] > 0).all()
            assert batch.index.unique().numel() == N
            assert batch.weight.tolist() == [1.0] * N

    @pytest.mark.parametrize("name", ["mentornet-pd", "mentornet"])
    def test_weights_are_the_scores_of_all_rows(self, name):
        selector = strategies.make(name, nn.Identity(), N, slope=0.5, weights=True, seed=0)
        for step in range(4):
            x, y, _ = large_batch(step)
            v = selector.scores(x, y)
            batch = selector(x, y)
            assert batch.index.tolist() == list(range(K))
            torch.testing.assert_close(batch.weight, v)

    def test_rows_without_a_target_do_not_count(self):
        selector = strategies.make("mentornet-pd", nn.Identity(), N, seed=0)
        x, y, _ = large_batch(0)
        y[::2] = -100
        batch = selector(x, y)
        expected = np.quantile(losses_of(x[1::2], y[1::2]), 0.75)
        assert selector.score.state_dict()["average"].item() == pytest.approx(expected, rel=1e-5)
        assert (batch.index % 2 == 1).all()


class TestMentorNet:
    def test_has_the_layers_of_the_paper(self):
        net = isf.MentorNet(C)
        shapes = {name: list(weight.shape) for name, weight in net.named_parameters()}
        assert shapes["label.weight"] == [C, 2]
        assert shapes["percent.weight"] == [100, 5]
        assert not net.percent.weight.requires_grad
        assert shapes["hidden.weight"] == [20, 9]
        assert shapes["out.weight"] == [1, 20]
        one = torch.ones(K)
        label = torch.arange(K) % C
        weight = net(one, -one, label, label)
        assert weight.shape == (K,)
        assert ((weight > 0) & (weight < 1)).all()

    def test_learns_the_curriculum(self):
        selector = strategies.make("mentornet", nn.Identity(), N, slope=0.5, rate=0.03, seed=0)
        reference = Reference(0.75, 0.5, 0.9)
        errors = []
        for step in range(250):
            x, y, _ = large_batch(step % 10)
            v = reference.step(losses_of(x, y))
            errors.append(np.square(selector.scores(x, y).numpy() - v).mean())
            selector(x, y)
        assert np.mean(errors[-10:]) < 0.2 * np.mean(errors[:10])

    def test_learns_which_labels_are_right(self):
        """Labels of odd samples are wrong, and known to be for a fifth of all."""
        clean = torch.full((SIZE,), torch.nan)
        clean[::10], clean[1::10] = 1, 0
        selector = strategies.make("mentornet", nn.Identity(), N, clean=clean, rate=0.05, seed=0)

        def noisy(step: int) -> tuple[Tensor, Tensor, Tensor]:
            index = torch.randperm(SIZE, generator=torch.Generator().manual_seed(step))[:K]
            truth = index % C
            x = 3.0 * F.one_hot(truth, C)
            return x, (truth + index % 2) % C, index

        for step in range(100):
            selector(*noisy(step))
        x, y, index = noisy(1000)
        scores = selector.scores(x, y, index)
        assert scores[index % 2 == 0].min() > scores[index % 2 == 1].max()
        assert (selector(x, y, index).index % 2 == 0).double().mean() > 0.8
        with pytest.raises(ValueError, match="index is missing, and clean goes by it"):
            selector(x, y)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, range(20, 100)),
            ({"start": isf.Always()}, range(100)),
            ({"start": isf.After(50)}, range(50, 100)),
            ({"batches_per_pool": 2}, range(20, 100, 2)),
            ({"start": isf.After(31), "batches_per_pool": 4}, range(32, 100, 4)),
        ],
    )
    def test_is_told_how_far_the_training_is(self, options, expected):
        """100 steps and some more: the percent is the number of those that are done."""
        percents = []
        selector = strategies.make("mentornet", nn.Identity(), 4, steps=100, seed=0, **options)
        made = selector.score._made

        def noted(classes, device):
            model = made(classes, device)
            model.model.register_forward_pre_hook(
                lambda module, inputs: percents.append(set(inputs[3].tolist()))
            )
            return model

        selector.score._made = noted
        steps = range(104 // options.get("batches_per_pool", 1))
        for _ in selector.batches(large_batch(step)[:2] for step in steps):
            pass
        later = len(percents) // 2 - len(expected)
        assert later > 0
        assert percents[::2] == [{percent} for percent in expected] + [{99}] * later

    def test_begins_after_a_fifth_of_the_steps(self):
        selector = strategies.make("mentornet", nn.Identity(), N, steps=20, seed=0)
        batches = [selector(*large_batch(step)[:2]) for step in range(6)]
        assert [batch.importance for batch in batches] == [False] * 4 + [True] * 2
        assert isinstance(strategies.make("mentornet", nn.Identity(), N).start, isf.Always)

    def test_targets_may_be_probabilities(self):
        selector = strategies.make("mentornet", nn.Identity(), N, seed=0)
        x, y, _ = large_batch(0)
        soft = strategies.make("mentornet", nn.Identity(), N, seed=0)
        for _ in range(3):
            expected, found = selector(x, y), soft(x, F.one_hot(y, C).float())
            assert torch.equal(found.index, expected.index)

    def test_torchs_random_state_is_left_alone(self):
        selector = strategies.make("mentornet", nn.Identity(), N, seed=0)
        before = torch.get_rng_state()
        selector(*large_batch(0)[:2])
        assert torch.equal(torch.get_rng_state(), before)

    def test_its_share_of_a_step_is_told(self):
        selector = strategies.make("mentornet", nn.Identity(), N, seed=0)
        for step in range(3):
            selector(*large_batch(step)[:2])
        assert selector.report().second_model > 0


def test_a_network_that_was_saved_elsewhere_continues_where_the_rows_are():
    saved, selector = (strategies.make("mentornet", nn.Identity(), N, seed=0) for _ in range(2))
    for step in range(3):
        saved(*large_batch(step)[:2])
    selector.load_state_dict(saved.state_dict())
    score, made, devices = selector.score, selector.score._made, []

    def made_here(classes, device):
        devices.append(device)
        return made(classes, torch.device("cpu"))

    score._made = made_here
    loaded = score._model
    assert score._network(C, torch.device("cpu")) is loaded
    assert score._network(C, torch.device("meta")) is not loaded
    assert devices == [torch.device("meta")]
    for step in range(3, 6):
        x, y, _ = large_batch(step)
        assert torch.equal(selector(x, y).index, saved(x, y).index)
    assert str(selector.state_dict()) == str(saved.state_dict())


def test_an_accelerator_is_not_waited_for():
    with accelerator():
        selector = strategies.make("mentornet-pd", nn.Identity(), N, seed=0)
        selector(*map(elsewhere, large_batch(0)[:2]))
        Elsewhere.waits = Elsewhere.copies = 0
        for step in range(1, 4):
            selector(*map(elsewhere, large_batch(step)[:2]))
    assert Elsewhere.waits + Elsewhere.copies == 0


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("mentornet-pd", {"percentile": 1.5}, ValueError, "percentile is 1.5, expected"),
        ("mentornet-pd", {"slope": -1}, ValueError, "slope is -1, expected"),
        ("mentornet-pd", {"decay": 1}, ValueError, "decay is 1, expected"),
        ("mentornet", {"rate": 0}, ValueError, "rate is 0, expected"),
        ("mentornet", {"steps": 0}, ValueError, "steps is 0, expected at least 1"),
        ("mentornet", {"steps": 0.5}, TypeError, "steps is 0.5, expected an integer"),
        (
            *("mentornet", {"steps": 9, "batches_per_pool": 0}, ValueError),
            "batches_per_pool is 0, expected at least 1",
        ),
        ("mentornet", {"clean": [1.0]}, TypeError, "clean is list, expected a floating-point"),
    ],
)
def test_bad_arguments_are_named(name, arguments, error, message):
    with pytest.raises(error, match=message):
        strategies.make(name, nn.Identity(), N, **arguments)


def test_a_state_that_is_none_of_its_own_is_refused():
    selector = strategies.make("mentornet", nn.Identity(), N, seed=0)
    state = selector.state_dict()
    for change, error in (
        ({"average": 1.0}, TypeError),
        ({"step": -1}, ValueError),
        ({"more": 1}, KeyError),
    ):
        with pytest.raises(error):
            selector.load_state_dict(state | {"score": state["score"] | change})


@pytest.mark.parametrize("on_fault", ["raise", "skip"])
def test_a_faulty_row_teaches_the_network_nothing(on_fault):
    selector, expected = (
        strategies.make("mentornet", nn.Identity(), N, on_fault=on_fault, seed=0) for _ in range(2)
    )
    x, y, _ = large_batch(0)
    for other in (selector, expected):
        other(x, y)
    faulty, without = x.clone(), y.clone()
    faulty[5], without[5] = torch.nan, -100
    if on_fault == "raise":
        with pytest.raises(ValueError, match=r"logits\[5, 0\] is nan"):
            selector(faulty, y)
        assert str(selector.state_dict()) == str(expected.state_dict())
        return
    assert torch.equal(selector(faulty, y).index, expected(x, without).index)
    assert selector.faulty_rows == 1
    found, wanted = (other.score.state_dict() for other in (selector, expected))
    assert found["average"] == wanted["average"]
    for name, value in wanted["model"]["model"].items():
        torch.testing.assert_close(found["model"]["model"][name], value)
