"""The networks of the tasks."""

import pytest
import torch

from bench.tasks import TASKS


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("two-circles", 252),
        ("mnist", 21_840),
        # Less the scale and the shift of 32 channels that the authors' code does not use.
        ("cifar10", 126_794 - 2 * 32),
        ("patch-camelyon", 446_932),
    ],
)
def test_networks_have_the_papers_size(name: str, weights: int) -> None:
    network = TASKS[name].network()
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


@pytest.mark.parametrize("name", ["two-circles", "mnist", "cifar10", "patch-camelyon"])
def test_tasks_are_trained_as_in_the_paper(name: str) -> None:
    task = TASKS[name]
    rates = {"two-circles": 0.005, "mnist": 0.01, "cifar10": 0.001, "patch-camelyon": 0.001}
    starts = {"mnist": "ratio:0.42", "cifar10": "ratio:0.5", "patch-camelyon": "ratio:0.74"}
    assert task.learning_rate == rates[name]
    assert task.start == starts.get(name, "always")
    assert (task.large, task.mini) == (1024, 128)


@pytest.mark.parametrize(("name", "classes"), [("fashion-mnist", 10), ("cifar100", 100)])
def test_further_tasks_have_names_for_their_classes(name: str, classes: int) -> None:
    task = TASKS[name]
    assert len(set(task.class_names)) == classes
    side, channels = (28, 1) if name == "fashion-mnist" else (32, 3)
    assert task.network()(torch.zeros(2, channels, side, side)).shape == (2, classes)
