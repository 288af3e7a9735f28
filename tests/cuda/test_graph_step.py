"""GraphStep trains as the loop that it stands for: eagerly on the CPU, replayed on a GPU."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from impsamp_fast import After, LossRatio, LossSplit, Selector, StartRule, VarianceReduction
from tests.cuda.graph_runs import (
    CLASSES,
    OPTIMIZERS,
    K,
    N,
    Run,
    assert_same_training,
    batches,
    network,
)
from tests.devices import last_device, no_synchronisation

pytestmark = pytest.mark.usefixtures("one_thread")


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "loss without correction": {"score": "loss", "correction": "none"},
    "last layer": {"score": "last_layer", "method": "pps"},
    "race": {"method": "race", "smoothing": 0.2, "correction": "normalized"},
    "topk": {"method": "topk", "score": "entropy"},
    "smoothed loss": {"label_smoothing": 0.1},
    "ignored rows": {"ignore_index": 1},
    "uniform, then importance": {"start": After(12)},
}


@pytest.mark.parametrize("case", CASES)
def test_trains_as_the_loop(case: str, device: torch.device) -> None:
    by_hand, graphed = Run(device, **CASES[case]), Run(device, **CASES[case])
    step = graphed.graph_step(warmup=2)
    for x, y, number in batches(device):
        expected, found = by_hand.by_hand(x, y, number), step(x, y, number)
        assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert_same_training(graphed, by_hand)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_with_any_optimizer(optimizer: str, device: torch.device) -> None:
    by_hand, graphed = Run(device, optimizer), Run(device, optimizer)
    step = graphed.graph_step()
    for batch in batches(device):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_gradients_are_clipped(device: torch.device) -> None:
    by_hand, graphed = Run(device, "SGD"), Run(device, "SGD")

    def clamp(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.clamp_(-0.01, 0.01)

    for parameter in by_hand.model.parameters():
        parameter.register_post_accumulate_grad_hook(clamp)

    def clip() -> None:
        torch.nn.utils.clip_grad_value_(graphed.model.parameters(), 0.01)

    step = graphed.graph_step(before_step=clip)
    for batch in batches(device):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_a_score_function_gets_the_numbers(device: torch.device) -> None:
    table = torch.rand(1000, device=device)

    def score(logits: Tensor, y: Tensor, index: Tensor) -> Tensor:
        return table[index]

    by_hand, graphed = Run(device, score=score), Run(device, score=score)
    step = graphed.graph_step()
    for batch in batches(device):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_class_weights(device: torch.device) -> None:
    weight = torch.tensor([1.0, 0.2, 3.0], device=device)
    by_hand, graphed = Run(device, class_weight=weight), Run(device, class_weight=weight)
    step = graphed.graph_step()
    for batch in batches(device):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_class_weights_that_stayed_on_the_cpu(device: torch.device) -> None:
    weight = torch.tensor([1.0, 0.2, 3.0])
    there, here = Run(device, class_weight=weight.to(device)), Run(device, class_weight=weight)
    steps = there.graph_step(), here.graph_step()
    for batch in batches(device):
        for step in steps:
            step(*batch)
    assert_same_training(here, there)


@pytest.mark.parametrize("start", [lambda: LossRatio(0.9), lambda: VarianceReduction(1.05)])
def test_rules_that_learn(start: Callable[[], StartRule], device: torch.device) -> None:
    by_hand, graphed = Run(device, start=start()), Run(device, start=start())
    step = graphed.graph_step()
    for batch in batches(device, 60):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


@pytest.mark.parametrize(
    "options",
    [{"score": lambda logits, y: isf.score(logits, y, "loss").square()}, {"method": LossSplit()}],
    ids=["score", "rule"],
)
def test_scores_and_rules_of_ones_own(options: dict[str, Any], device: torch.device) -> None:
    by_hand, graphed = Run(device, **options), Run(device, **options)
    step = graphed.graph_step()
    for batch in batches(device):
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_a_state_loaded_into_the_optimizer_counts(device: torch.device) -> None:
    """A graph that was captured before must not go on with the state that it knew."""
    by_hand, graphed = Run(device), Run(device)
    step = graphed.graph_step()
    made = batches(device)
    for run in (by_hand.by_hand, step):
        for batch in made[:10]:
            run(*batch)
    for run, optimizer in ((by_hand.by_hand, by_hand.optimizer), (step, graphed.optimizer)):
        state = copy.deepcopy(optimizer.state_dict())
        for batch in made[10:20]:
            run(*batch)
        optimizer.load_state_dict(state)
        for batch in made[20:]:
            run(*batch)
    assert_same_training(graphed, by_hand)


def test_a_loss_of_ones_own(device: torch.device) -> None:
    def squares(logits: Tensor, y: Tensor) -> Tensor:
        return (logits.softmax(-1) - F.one_hot(y, CLASSES)).square().sum(-1)

    def on_a_graph(logits: Tensor, y: Tensor) -> Tensor:
        one_hot = (y[:, None] == torch.arange(CLASSES, device=y.device)).float()
        return (logits.softmax(-1) - one_hot).square().sum(-1)

    by_hand, graphed = Run(device), Run(device)
    step = graphed.graph_step(loss=on_a_graph)
    for x, y, number in batches(device):
        batch = by_hand.selector(x, y, number)
        by_hand.optimizer.zero_grad()
        batch.mean(squares(by_hand.model(batch.x), batch.y)).backward()
        by_hand.optimizer.step()
        step(x, y, number)
    assert_same_training(graphed, by_hand)


def test_batches_of_another_shape(device: torch.device) -> None:
    """Some of every kind, and more shapes than there are graphs."""
    by_hand, graphed = Run(device), Run(device)
    step = graphed.graph_step(warmup=1)
    sizes = [K, K // 2, 64, 65, 66, 67, 68]
    for round in range(4):
        for rows in sizes:
            x, y, number = batches(device, round + 1, rows)[-1]
            by_hand.by_hand(x, y, number)
            step(x, y, number)
    assert_same_training(graphed, by_hand)


def test_another_learning_rate(device: torch.device) -> None:
    by_hand, graphed = Run(device, "SGD"), Run(device, "SGD")
    step = graphed.graph_step()
    for number, batch in enumerate(batches(device)):
        if number in (10, 20):
            for run in (by_hand, graphed):
                run.optimizer.param_groups[0]["lr"] /= 5
        by_hand.by_hand(*batch)
        step(*batch)
    assert_same_training(graphed, by_hand)


def test_returns_a_scalar_without_gradient(device: torch.device) -> None:
    run = Run(device)
    step = run.graph_step()
    for batch in batches(device, 8):
        loss = step(*batch)
        assert loss.shape == ()
        assert loss.device == batch[0].device
        assert not loss.requires_grad
        assert loss.isfinite()


def test_the_loss_falls(device: torch.device) -> None:
    step = Run(device).graph_step()
    losses = [step(*batch).item() for batch in batches(device, 200)]
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_structures(device: torch.device) -> None:
    class Difference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, CLASSES)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.layer(left - right)

    parameters = []
    for pack in (
        lambda a, b: (a, b),
        lambda a, b: [a, b],
        lambda a, b: {"right": b, "left": a},
    ):
        torch.manual_seed(1)
        model = Difference().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step = isf.GraphStep(Selector(model, N, seed=0), optimizer)
        for x, y, _ in batches(device, 10):
            step(pack(x, x.flip(0)), y)
        parameters.append([p.detach() for p in model.parameters()])
    for other in parameters[1:]:
        torch.testing.assert_close(other, parameters[0])


def test_a_saved_run_goes_on(device: torch.device) -> None:
    whole, first = Run(device), Run(device)
    made = batches(device)
    step = whole.graph_step()
    for batch in made:
        step(*batch)
    step = first.graph_step()
    for batch in made[:13]:
        step(*batch)
    second = Run(device, seed=99)
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    resumed = second.graph_step()
    resumed.load_state_dict(step.state_dict())
    for batch in made[13:]:
        resumed(*batch)
    assert_same_training(second, whole)


def test_a_faulty_batch_is_told_soon(device: torch.device) -> None:
    step = Run(device).graph_step()
    made = batches(device, 10)
    for batch in made:
        step(*batch)
    x, y, number = made[0]
    with pytest.raises((ValueError, IndexError)):
        step(x, y.index_fill(0, y[:1] * 0 + 5, CLASSES), number)
        for _ in range(5):
            for batch in made:
                step(*batch)


def test_a_fault_in_the_first_step_is_told(device: torch.device) -> None:
    step = Run(device).graph_step()
    made = batches(device, 10)
    with pytest.raises((ValueError, IndexError)):
        for t in range(60):
            x, y, number = made[t % 10]
            step(x, y.index_fill(0, y[:1] * 0 + 5, CLASSES) if t == 0 else y, number)


@pytest.mark.cuda
class TestGraphs:
    def test_on_another_device_than_the_current_one(self, cuda: torch.device) -> None:
        with torch.cuda.device(0):
            there, here = Run(last_device()), Run(torch.device("cuda", 0))
            for run in (there, here):
                step = run.graph_step()
                device = next(run.model.parameters()).device
                for batch in batches(device):
                    step(*batch)
        here.model.to(last_device())
        assert_same_training(there, here)

    def test_an_optimizer_that_reads_on_the_host_is_refused(self, cuda: torch.device) -> None:
        model = network(cuda)
        with pytest.raises(ValueError, match="capturable"):
            step = isf.GraphStep(Selector(model, N), torch.optim.Adam(model.parameters()))
            for x, y, _ in batches(cuda, 10):
                step(x, y)

    def test_no_step_synchronises(self, cuda: torch.device) -> None:
        for start in (None, After(10**9)):
            model = network(cuda)
            optimizer = torch.optim.Adam(model.parameters(), capturable=True)
            step = isf.GraphStep(Selector(model, N, start=start), optimizer)
            made = batches(cuda)
            with no_synchronisation(cuda):
                for _ in range(5):
                    for x, y, _number in made:
                        step(x, y)

    def test_a_step_is_one_launch(self, cuda: torch.device) -> None:
        """Seen from the host: a replay, and the copies of the batch."""
        model = network(cuda)
        optimizer = torch.optim.Adam(model.parameters(), capturable=True)
        step = isf.GraphStep(Selector(model, N), optimizer)
        made = batches(cuda)
        for x, y, _ in made:
            step(x, y)
        with torch.profiler.profile() as record:
            step(*made[0][:2])
            torch.cuda.synchronize()
        events = {event.key: event.count for event in record.key_averages()}
        assert events.get("cudaGraphLaunch") == 1, events
        assert events.get("cudaLaunchKernel", 0) <= 4, events

    def test_dropout_differs_from_step_to_step(self, cuda: torch.device) -> None:
        """The graph's random numbers go on, for training and for nothing else."""
        torch.manual_seed(0)
        model = network(cuda, nn.Dropout(0.5))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        step = isf.GraphStep(Selector(model, K, method="topk", seed=0), optimizer)
        x, y, _ = batches(cuda, 1)[0]
        losses = [step(x, y).item() for _ in range(20)]
        assert len(set(losses[5:])) > 10

    def test_two_runs_share_nothing(self, cuda: torch.device) -> None:
        alone, first, second = Run(cuda), Run(cuda), Run(cuda)
        step = alone.graph_step()
        for batch in batches(cuda):
            step(*batch)
        steps = first.graph_step(), second.graph_step()
        for batch in batches(cuda):
            for one in steps:
                one(*batch)
        assert_same_training(first, alone)
        assert_same_training(second, alone)
