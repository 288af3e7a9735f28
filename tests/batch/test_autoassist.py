"""AutoAssist: the chances and the assistant's steps beside their equations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import strategies
from tests.goodness import FALSE_ALARM
from tests.toy import Counted

pytestmark = pytest.mark.usefixtures("one_thread")

K, N, D, C = 8, 8, 6, 3


def rows(step: int, K: int = K) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(K, 2, D // 2, generator=generator)
    return x, torch.randint(C, (K,), generator=generator)


def model() -> Counted:
    return Counted(nn.Sequential(nn.Flatten(), nn.Linear(D, C)))


def weights_of(queue: isf.AutoAssist) -> tuple[np.ndarray, np.ndarray]:
    state = queue.state_dict()["memory"]["assistant"]["model"]
    return state["numbers"].double().numpy(), state["classes"].double().numpy()


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def test_the_assistant_takes_the_steps_of_the_authors_loop():
    """Row by row, as their code does: W by the mean gradient, U of a row's class by each row's."""
    rate, decay, momentum = 0.5, 0.1, 0.75
    queue = strategies.make(
        *("autoassist", model(), N), base=1, rate=rate, weight_decay=decay, seed=0
    )
    total = count = 0.0
    W = U = None
    for step in range(6):
        x, y = rows(step)
        batch = queue(x, y)
        assert batch.index.numel() == N  # base 1 keeps all
        if W is None:
            W, U = weights_of(queue)
            assert 0 < np.abs(W).max() < 1e-2
        losses = torch.rand(N, generator=torch.Generator().manual_seed(step)).square()
        batch.mean(losses)
        total = momentum * total + (1 - momentum) * losses.sum().item()
        count = momentum * count + (1 - momentum) * N
        flat = x.reshape(N, D).double().numpy()
        prob = sigma(flat @ W + U[y])
        wrong = prob - (losses.numpy() > total / count)
        gradient = np.zeros(C)
        np.add.at(gradient, y.numpy(), wrong + decay * U[y])
        W = W - rate / N * (wrong @ flat + decay * W)
        U = U - rate / N * gradient
        for found, expected in zip(weights_of(queue), (W, U), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_rows_are_kept_with_their_chance():
    base, draws = 0.3, 3000
    queue = strategies.make("autoassist", model(), 10**6, base=base, seed=0)
    x, y = rows(0)
    queue(x, y)
    state = queue.state_dict()
    assistant = state["memory"]["assistant"]["model"]
    generator = torch.Generator().manual_seed(1)
    assistant["numbers"] = torch.randn(D, generator=generator)
    assistant["classes"] = torch.randn(C, generator=generator)
    W, U = assistant["numbers"].double().numpy(), assistant["classes"].double().numpy()
    prob = base + (1 - base) * sigma(x.reshape(K, D).double().numpy() @ W + U[y])
    kept = np.zeros(K)
    for draw in range(draws):
        queue.load_state_dict(state | {"step": draw, "rows": None, "numbered": 0})
        queue(x, y)
        kept[queue.state_dict()["rows"][2].numpy()] += 1
    deviation = np.square(kept - draws * prob) / (draws * prob * (1 - prob))
    assert deviation.sum() < chi2.isf(FALSE_ALARM, K)


def test_it_learns_which_rows_have_large_losses():
    """Rows whose first number is positive do, and those of class 0."""
    queue = strategies.make("autoassist", model(), N, rate=0.3, seed=0)
    for step in range(300):
        batch = queue(*rows(step))
        if batch is None:
            continue
        hard = (batch.x[:, 0, 0] > 0) | (batch.y == 0)
        batch.mean(hard.float() + 0.1)
    x, y = rows(1000, 500)
    W, U = weights_of(queue)
    chance = sigma(x.reshape(500, D).double().numpy() @ W + U[y])
    hard = ((x[:, 0, 0] > 0) | (y == 0)).numpy()
    assert chance[hard].mean() > 1.5 * chance[~hard].mean()


def test_the_model_is_called_once():
    counted = model()
    queue = strategies.make("autoassist", counted, N, seed=0)
    for batch in queue.batches([rows(step) for step in range(9)]):
        batch.mean(torch.rand(N))
    assert counted.rows == [K]


def test_rows_without_a_target_or_with_no_class():
    queue = strategies.make("autoassist", model(), 100, base=1, seed=0)
    x, y = rows(0)
    y[2], y[3] = -100, C
    queue(x, y)
    assert sorted(queue.state_dict()["rows"][2].tolist()) == [0, 1, 3, 4, 5, 6, 7]


def test_probabilities_of_classes_count_by_their_shares():
    hard = strategies.make("autoassist", model(), N, seed=0)
    soft = strategies.make("autoassist", model(), N, seed=0)
    for step in range(8):
        x, y = rows(step)
        found, expected = soft(x, F.one_hot(y, C).float()), hard(x, y)
        assert (found is None) == (expected is None)
        if found is not None:
            assert torch.equal(found.index, expected.index)
            losses = torch.rand(N)
            found.mean(losses), expected.mean(losses)


def test_losses_that_are_not_finite_teach_nothing():
    queue = strategies.make("autoassist", model(), N, base=1, seed=0)
    batch = queue(*rows(0))
    before = weights_of(queue)
    batch.mean(torch.full((N,), torch.nan))
    for weight, old in zip(weights_of(queue), before, strict=True):
        np.testing.assert_allclose(weight, old, rtol=1e-3)
    assert queue.state_dict()["memory"]["losses"].tolist() == [0, 0]


def test_without_losses_it_says_so():
    queue = strategies.make("autoassist", model(), N, base=1, seed=0)
    for step in range(101):
        queue(*rows(step))
    with pytest.raises(RuntimeError, match="has heard no losses of 100 mini-batches"):
        queue(*rows(101))


def test_a_row_of_another_size_is_named():
    queue = strategies.make("autoassist", nn.Identity(), 100, base=1, seed=0)
    queue(torch.randn(K, C), rows(0)[1])
    with pytest.raises(ValueError, match="a row of x has 4 numbers, those before had 3"):
        queue._select(torch.randn(K, 4), rows(0)[1], 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"base": 1.5}, ValueError, "base is 1.5, expected"),
        ({"rate": 0}, ValueError, "rate is 0, expected"),
        ({"weight_decay": -1}, ValueError, "weight_decay is -1, expected"),
        ({"momentum": 1}, ValueError, "momentum is 1, expected"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        isf.AutoAssist(model(), N, **arguments)


def test_an_assistant_that_was_saved_elsewhere_continues_where_the_rows_are(monkeypatch):
    queue, devices = strategies.make("autoassist", model(), N, base=1, seed=0), []
    for step in range(3):
        queue(*rows(step)).mean(torch.linspace(0, 1, N))
    before, made = str(queue.state_dict()), queue._made

    def made_here(numbers, classes, device):
        devices.append(device)
        return made(numbers, classes, torch.device("cpu"))

    monkeypatch.setattr(queue, "_made", made_here)
    queue._inputs(rows(3)[0], torch.zeros(K, C))
    assert not devices
    queue._inputs(rows(3)[0], torch.zeros(K, C, device="meta"))
    assert devices == [torch.device("meta")]
    assert str(queue.state_dict()) == before


def test_a_state_of_other_sizes_replaces_the_assistant():
    queue, other = (strategies.make("autoassist", model(), N, seed=0) for _ in range(2))
    queue(*rows(0))
    other.load_state_dict(queue.state_dict())
    for weight, expected in zip(weights_of(other), weights_of(queue), strict=True):
        assert np.array_equal(weight, expected)
    state = queue.state_dict()
    state["memory"]["losses"] = [0.0, 0.0]
    with pytest.raises(TypeError, match="the state's losses are list, expected two numbers"):
        other.load_state_dict(state)
