from dataclasses import replace
from functools import partial

import torch

from bench.tasks import TASKS
from bench.tasks.task import Data

CLASSES, SIZE = 4, 1000
CLEAN = Data(
    torch.zeros(SIZE, 1), torch.arange(SIZE) % CLASSES, torch.zeros(8, 1), torch.arange(8) % 4
)


def test_a_share_of_the_labels_is_wrong_and_the_test_set_clean() -> None:
    noisy = CLEAN.with_wrong_labels(0.4)
    wrong = noisy.y != CLEAN.y
    assert wrong.sum() == 400
    assert noisy.y.min() == 0
    assert noisy.y.max() == CLASSES - 1
    further = (noisy.y - CLEAN.y)[wrong] % CLASSES
    assert all(100 < count < 167 for count in further.bincount(minlength=CLASSES)[1:].tolist())
    assert torch.equal(noisy.test_y, CLEAN.test_y)
    assert torch.equal(noisy.y, CLEAN.with_wrong_labels(0.4).y)
    # No run goes through the wrong ones first.
    first = torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))[:400]
    assert 130 < wrong[first].sum() < 190
    assert torch.equal(CLEAN.with_wrong_labels(0).y, CLEAN.y)


def test_samples_are_held_out_of_the_pool() -> None:
    numbered = replace(CLEAN, x=torch.arange(SIZE)[:, None], source="made up")
    held_out = numbered.with_validation(100)
    assert held_out.source == "made up"
    trained, tested = held_out.x.flatten(), held_out.test_x.flatten()
    assert torch.equal(trained, trained.sort().values)
    assert torch.equal(torch.cat([trained, tested]).sort().values, torch.arange(SIZE))
    assert torch.equal(held_out.y, CLEAN.y[trained])
    assert torch.equal(held_out.test_y, CLEAN.y[tested])
    assert 30 < (tested < SIZE // 2).sum() < 70  # of all of the pool


def test_classes_become_rare() -> None:
    rare = CLEAN.with_rare_classes(0.1)
    assert rare.y.bincount().tolist() == [250, 250, 25, 25]
    assert len(rare.x) == len(rare.y)
    assert CLEAN.with_rare_classes(1.0) is CLEAN


def test_an_optimizer_is_told_with_what_it_was_given() -> None:
    task = TASKS["mnist"]
    assert task.optimizer_name == "Adam"
    sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4)
    assert replace(task, optimizer=sgd).optimizer_name == "SGD(momentum=0.9, weight_decay=0.0005)"
