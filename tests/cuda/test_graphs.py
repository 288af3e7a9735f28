"""Captured in a CUDA graph, the operators do at each replay what they would do eagerly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf
from tests.methods import METHODS, RANDOM_METHODS

pytestmark = pytest.mark.cuda

# One launch, two launches and the library's scan and sort.
SIZES = [(1024, 10), (3000, 100), (100_000, 4)]


def capture(
    function: Callable[[], Any], generator: torch.Generator | None = None
) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The function as a graph that has not run yet, and the memory that a replay fills."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function()  # kernels are loaded when first used, which cannot be captured
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    if generator is not None:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        result = function()
    return graph, result


def batch(device: torch.device, rows: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(device).manual_seed(seed)
    logits = 3 * torch.randn(rows, classes, device=device, generator=generator)
    return logits, torch.randint(classes, (rows,), device=device, generator=generator)


def copies(results: Any) -> list[Tensor]:
    return [value.clone() for value in (results if isinstance(results, tuple) else (results,))]


OPERATORS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "row_stats": lambda z, y: isf.row_stats(z, y),
    "row_stats smoothed": lambda z, y: isf.row_stats(z, y, label_smoothing=0.1),
    "row_stats probabilities": lambda z, y: isf.row_stats(z, z.softmax(-1)),
    "row_stats weighted": lambda z, y: isf.row_stats(z, y, class_weight=z[0].abs()),
    "score": lambda z, y: isf.score(z, y, "margin"),
    "score last_layer": lambda z, y: isf.score(z, y, "last_layer", z[:, :3].half()),
    "transposed": lambda z, y: isf.row_stats(z.t().contiguous().t(), y.int()),
}
for _method in METHODS:
    OPERATORS[f"draw {_method}"] = lambda z, y, m=_method: isf.draw(z[:, 0].abs(), 100, m, seed=3)
    OPERATORS[f"select {_method}"] = lambda z, y, m=_method: isf.select(
        z, y, 100, "loss", m, "normalized", smoothing=0.1, seed=3
    )


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("rows", "classes"), SIZES)
def test_a_replay_works_on_what_is_there_then(
    rows: int, classes: int, name: str, cuda: torch.device
) -> None:
    operator = OPERATORS[name]
    logits, target = batch(cuda, rows, classes)
    graph, result = capture(lambda: operator(logits, target))
    for seed in (1, 2, 3):
        other_logits, other_target = batch(cuda, rows, classes, seed)
        logits.copy_(other_logits)
        target.copy_(other_target)
        graph.replay()
        expected = operator(other_logits, other_target)
        assert all(map(torch.equal, copies(result), copies(expected)))


def draws_of(rows: int, classes: int, method: str, device: torch.device) -> dict[str, Any]:
    logits, target = batch(device, rows, classes)
    weights = isf.score(logits, target)
    return {
        "draw": lambda **source: isf.draw(weights, 100, method, **source).index,
        "select": lambda **source: isf.select(logits, target, 100, method=method, **source).index,
    }


fresh = pytest.mark.parametrize("method", RANDOM_METHODS)
sizes = pytest.mark.parametrize(("rows", "classes"), SIZES)
either = pytest.mark.parametrize("name", ["draw", "select"])


@fresh
@sizes
@either
def test_replays_draw_what_eager_calls_draw(
    rows: int, classes: int, method: str, name: str, cuda: torch.device
) -> None:
    """From torch's generator: fresh rows each time, those of the same calls without a graph."""
    draws = draws_of(rows, classes, method, cuda)[name]
    graph, index = capture(draws)
    torch.cuda.manual_seed(5)
    replayed = []
    for _ in range(4):
        graph.replay()
        replayed.append(index.clone())
    state = torch.cuda.get_rng_state()
    torch.cuda.manual_seed(5)
    eager = [draws() for _ in range(4)]
    assert all(map(torch.equal, replayed, eager))
    assert torch.equal(torch.cuda.get_rng_state(), state), "the generator has advanced alike"
    assert len({tuple(rows.tolist()) for rows in replayed}) == 4


@fresh
@either
def test_a_registered_generator_decides(method: str, name: str, cuda: torch.device) -> None:
    generator = torch.Generator(cuda).manual_seed(7)
    draws = draws_of(1024, 10, method, cuda)[name]
    graph, index = capture(lambda: draws(generator=generator), generator)
    before = torch.cuda.get_rng_state()
    generator.manual_seed(7)
    replayed = []
    for _ in range(3):
        graph.replay()
        replayed.append(index.clone())
    generator.manual_seed(7)
    assert all(torch.equal(rows, draws(generator=generator)) for rows in replayed)
    assert torch.equal(torch.cuda.get_rng_state(), before), "the default generator is left alone"


@fresh
@sizes
def test_several_draws_of_a_graph_differ(
    rows: int, classes: int, method: str, cuda: torch.device
) -> None:
    draws = draws_of(rows, classes, method, cuda)

    def several() -> tuple[Tensor, ...]:
        noise = torch.rand(1001, device=cuda)  # takes numbers from the same generator
        return draws["draw"](), draws["select"](), noise, draws["draw"]()

    graph, results = capture(several)
    for seed in (1, 2):
        torch.cuda.manual_seed(seed)
        graph.replay()
        found = copies(results)
        torch.cuda.manual_seed(seed)
        assert all(map(torch.equal, found, several()))
        assert not torch.equal(found[0], found[3])


@fresh
@sizes
@either
def test_a_seed_on_the_device_is_read_at_each_replay(
    rows: int, classes: int, method: str, name: str, cuda: torch.device
) -> None:
    draws = draws_of(rows, classes, method, cuda)[name]
    seed = torch.zeros((), dtype=torch.int64, device=cuda)

    def step() -> Tensor:
        index = draws(seed=seed)
        seed.add_(3)
        return index

    graph, index = capture(step)
    for first in (0, -5, 2**62):
        seed.fill_(first)
        for i in range(3):
            graph.replay()
            assert torch.equal(index, draws(seed=first + 3 * i))


def test_results_go_to_out(cuda: torch.device) -> None:
    logits, target = batch(cuda, 1024, 10)
    eager = isf.select(logits, target, 100, seed=1)
    out = isf.Selection(*(torch.zeros_like(value) for value in eager))
    stats = isf.RowStats(*(torch.zeros(1024, device=cuda) for _ in range(5)))

    def both() -> None:
        isf.select(logits, target, 100, seed=1, out=out)
        isf.row_stats(logits, target, out=stats)

    graph, _ = capture(both)
    for value in (*out, *stats):
        value.zero_()
    graph.replay()
    assert all(map(torch.equal, out, eager))
    assert all(map(torch.equal, stats, isf.row_stats(logits, target)))


def test_a_fault_is_marked_at_the_replay_that_has_it(cuda: torch.device) -> None:
    for rows, classes in SIZES:
        logits, target = batch(cuda, rows, classes)
        graph, picked = capture(lambda z=logits, y=target: isf.select(z, y, 50, seed=1))
        good, status = target.clone(), []
        for i in range(4):
            target.copy_(good)
            if i % 2:
                target[7 * i] = classes
            graph.replay()
            status.append(picked.status.item())
        assert status == [0, 8, 0, 22]


def test_graphs_on_several_streams_do_not_mix(cuda: torch.device) -> None:
    for rows, classes in SIZES:
        for method in METHODS:
            recorded = []
            for i in range(3):
                logits, target = batch(cuda, rows, classes, i)
                expected = isf.select(logits, target, 100, method=method, seed=i)
                graph, result = capture(
                    lambda z=logits, y=target, i=i, m=method: isf.select(
                        z, y, 100, method=m, seed=i
                    )
                )
                recorded.append((graph, result, expected, torch.cuda.Stream()))
            torch.cuda.synchronize()
            for _ in range(20):
                for graph, _result, _expected, stream in recorded:
                    with torch.cuda.stream(stream):
                        graph.replay()
            torch.cuda.synchronize()
            for _graph, result, expected, _stream in recorded:
                assert all(map(torch.equal, result, expected)), (rows, method)


def test_a_training_step_by_hand(cuda: torch.device) -> None:
    """Scoring, selection, gathering, both passes, update: the parameters of the eager run."""
    x, y = torch.randn(1024, 2, device=cuda), torch.randint(2, (1024,), device=cuda)
    seed = torch.zeros((), dtype=torch.int64, device=cuda)

    def train(captured: bool) -> tuple[list[Tensor], list[Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Linear(50, 2)).to(cuda)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.005, capturable=True)

        def step() -> Tensor:
            with torch.no_grad():
                logits = model(x)
            picked = isf.select(logits, y, 128, seed=seed)
            optimizer.zero_grad(set_to_none=True)
            rows = picked.index
            losses = F.cross_entropy(model(x[rows]), y[rows], reduction="none")
            (picked.weight * losses).mean().backward()
            optimizer.step()
            seed.add_(1)
            return rows

        seed.zero_()
        graph, index = capture(step) if captured else (None, None)
        picks = [] if captured else [step()]  # the capture has run one step
        for _ in range(20):
            if graph is None:
                picks.append(step())
            else:
                graph.replay()
                picks.append(index.clone())
        return picks[-20:], [p.detach() for p in model.parameters()]

    eager, graphed = train(False), train(True)
    assert all(map(torch.equal, eager[0], graphed[0]))
    torch.testing.assert_close(graphed[1], eager[1])
    assert len({tuple(rows.tolist()) for rows in graphed[0]}) == 20
