import math

import pytest
import torch

from impsamp_fast.dataset import RecencyBias
from tests.goodness import fits

C = 4


def predict(sampler: RecencyBias, labels: list[int]) -> None:
    """A step in which sample i is classified as labels[i]; -1 leaves it out."""
    index = torch.tensor([i for i, label in enumerate(labels) if label >= 0])
    logits = torch.nn.functional.one_hot(torch.tensor(labels)[index], C).float()
    sampler.update(index, logits)


def predicted(**arguments) -> RecencyBias:
    """Four samples: always the same label; two labels; four; two, before which a fifth was seen."""
    arguments = {"epochs": 5, "history": 4, "warm_up": 1, "seed": 1} | arguments
    sampler = RecencyBias(4, classes=C, **arguments)
    for labels in ([-1, -1, -1, 3], [2, 0, 0, 0], [2, 0, 1, 0], [2, 1, 2, 1], [2, 1, 3, 1]):
        predict(sampler, labels)
    return sampler


def test_weights_rise_with_the_entropy_of_the_last_labels():
    # F = 0, 1/2, 1, 1/2 and N = 4 make Q = 4, 2, 0, 2; exp(-Q ln(16) / 4) = 2^-Q.
    expected = torch.tensor([2**-4, 2**-2, 1, 2**-2], dtype=torch.float64)
    torch.testing.assert_close(predicted(pressure=16).sample_weights(1), expected)


def test_the_quantization_index_is_rounded_up():
    sampler = RecencyBias(3, 5, C, history=3, warm_up=1, pressure=8, seed=1)
    for labels in ([0, 0, 0], [0, 0, 1], [0, 1, 2]):
        predict(sampler, labels)
    entropy = torch.tensor([0, math.log(3) - math.log(4) / 3, math.log(3)]) / math.log(C)
    assert torch.equal(((1 - entropy) * 3).ceil(), torch.tensor([3.0, 2.0, 1.0]))
    expected = torch.tensor([2**-3, 2**-2, 2**-1], dtype=torch.float64)
    torch.testing.assert_close(sampler.sample_weights(1), expected)


def test_a_sample_never_seen_is_uncertain():
    sampler = RecencyBias(2, 5, C, warm_up=1, pressure=4, seed=1)
    predict(sampler, [0, -1])
    torch.testing.assert_close(
        sampler.sample_weights(1), torch.tensor([1 / 4, 1], dtype=torch.float64)
    )


def test_the_pressure_falls_to_one():
    sampler = predicted(pressure=16)
    ratios = []
    for epoch in range(1, 6):
        weights = sampler.sample_weights(epoch)
        ratios.append(float(weights[2] / weights[0]))
    assert ratios == pytest.approx([16, 16 ** (2 / 3), 16 ** (1 / 3), 1, 1])


def test_draws_have_the_probabilities_of_the_weights():
    # In so long a training the pressure stays what it is.
    sampler = predicted(pressure=16, epochs=10**9)
    sampler.set_epoch(1)
    counts = torch.zeros(4, dtype=torch.int64)
    for _ in range(5000):
        counts += torch.bincount(torch.tensor(list(sampler)), minlength=4)
    assert fits(counts, torch.tensor([1, 4, 16, 4]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": 1}, ValueError, "classes is 1, expected at least 2"),
        ({"classes": None}, TypeError, "classes is None, expected an integer"),
        ({"history": 0}, ValueError, "history is 0, expected at least 1"),
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"pressure": 0}, ValueError, "pressure is 0"),
        ({"warm_up": 1.5}, TypeError, "warm_up is 1.5, expected an integer"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        RecencyBias(10, **{"epochs": 5, "classes": C} | arguments)
