"""How the model is called to score: in chunks, compiled, in another format, or another model."""

import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

import impsamp_fast as isf
from impsamp_fast import (
    Accumulator,
    AccuracyFilter,
    After,
    ScoringPass,
    SelectiveBackprop,
    Selector,
)
from tests.toy import C, K, N

Batch = tuple[Tensor, Tensor]


class Recorder(nn.Module):
    """A model that notes the rows of each call and whether it was in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU())
        self.head = nn.Linear(7, C)
        self.rows: list[int] = []
        self.saw_training: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(x.shape[0])
        self.saw_training.append(self.training)
        return self.head(self.body(x))


def images(rows: int, size: int = 28) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 1, size, size, generator=generator)
    return x, torch.randint(C, (rows,), generator=generator)


def convolutions(channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, C),
    )


STRATEGIES: dict[str, Callable[..., Any]] = {
    "selector": Selector,
    "accumulator": lambda model, n, **given: Accumulator(model, n, AccuracyFilter(), **given),
    "selective backprop": SelectiveBackprop,
}
every_strategy = pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)


def picks(
    model: nn.Module, batch: Batch, scoring: ScoringPass | None, **options: Any
) -> isf.MiniBatch:
    return Selector(model, N, scoring=scoring, seed=3, **options)(*batch)


def assert_close(batch: isf.MiniBatch, other: isf.MiniBatch) -> None:
    assert torch.equal(batch.index, other.index)
    torch.testing.assert_close(batch.weight, other.weight)


class TestChunks:
    @every_strategy
    @pytest.mark.parametrize(
        ("chunk", "rows"),
        [
            (1, [1] * 64),
            (7, [7] * 9 + [1]),
            (20, [16] * 4),
            (63, [32] * 2),
            (64, [64]),
            (70, [64]),
            ("all", [64]),
        ],
    )
    def test_rows_are_shared_out_evenly(
        self, make: Any, chunk: Any, rows: list[int], data: Batch
    ) -> None:
        model = Recorder()
        make(model, N, scoring=ScoringPass(chunk=chunk), seed=0)(*data)
        assert model.rows == rows

    @pytest.mark.parametrize("score", ["grad_norm", "last_layer"])
    @pytest.mark.parametrize("chunk", [1, 7, K])
    def test_the_rows_drawn_are_the_same(self, chunk: int, score: str, data: Batch) -> None:
        model = Recorder()
        whole = picks(model, data, ScoringPass(chunk="all"), score=score)
        assert_close(picks(model, data, ScoringPass(chunk=chunk), score=score), whole)

    @pytest.mark.parametrize("rows", [100, 128, 1000])
    def test_the_default_is_the_training_step_where_rows_are_large(self, rows: int) -> None:
        seen: list[int] = []
        model = convolutions()
        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[0]))
        Selector(model, 100, seed=0)(*images(rows))
        assert max(seen) <= 100
        assert len(seen) == -(-rows // 100)

    def test_the_default_is_one_call_where_rows_are_small(self, data: Batch) -> None:
        model = Recorder()
        Selector(model, 4, seed=0)(*data)
        assert model.rows == [K]

    def test_nested_rows(self, data: Batch) -> None:
        class Named(NamedTuple):
            first: Tensor
            others: dict[str, list[Tensor]]

        class Two(nn.Linear):
            def forward(self, first: Tensor, others: dict[str, list[Tensor]]) -> Tensor:
                return super().forward(first + others["b"][0])

        x, y = data
        model = Two(5, C)
        nested = Named(x, {"b": [2 * x]})
        batch = Selector(model, N, scoring=ScoringPass(chunk=9), seed=3)(nested, y)
        assert torch.equal(batch.x.others["b"][0], 2 * batch.x.first)
        expected = isf.select(model(*nested).detach(), y, N, seed=3)
        assert torch.equal(batch.index, expected.index)

    def test_a_chunk_bounds_the_memory(self) -> None:
        """Counted on what the model allocates for its largest activation."""
        largest = 0

        class Wide(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                nonlocal largest
                wide = x.repeat(1, 1000)
                largest = max(largest, wide.numel())
                return super().forward(wide[:, :5])

        x = torch.randn(4096, 5)
        Selector(Wide(5, C), N, scoring=ScoringPass(chunk=64))(x, torch.randint(C, (4096,)))
        assert largest == 64 * 5000


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("_fresh_compiler")
class TestCompiled:
    def counting(self, **options: Any) -> tuple[CompileCounter, ScoringPass]:
        counter = CompileCounter()
        scoring = ScoringPass(
            compile=lambda run: torch.compile(run, backend=counter, dynamic=False, fullgraph=True),
            **options,
        )
        return counter, scoring

    @pytest.mark.parametrize("score", ["grad_norm", "last_layer"])
    def test_once_for_all_sizes_and_both_phases(self, score: str, data: Batch) -> None:
        counter, scoring = self.counting(chunk=16)
        model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.ReLU(), nn.Linear(7, C))
        start = isf.VarianceReduction(1.05)
        selector = Selector(model, N, score=score, scoring=scoring, start=start, seed=0)
        expected = Selector(model, N, score=score, start=isf.VarianceReduction(1.05), seed=0)
        x, y = data
        for rows in (K, 17, N, 40, K, 31, K, 33):
            model.train(rows != 40)
            assert_close(selector(x[:rows], y[:rows]), expected(x[:rows], y[:rows]))
        assert counter.frame_count == 1

    def test_weights_are_those_of_the_step(self, data: Batch) -> None:
        counter, scoring = self.counting()
        model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, C))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        selector, expected = (Selector(model, N, scoring=s, seed=0) for s in (scoring, None))
        for _ in range(5):
            batch = selector(*data)
            assert_close(batch, expected(*data))
            optimizer.zero_grad()
            batch.mean(
                nn.functional.cross_entropy(model(batch.x), batch.y, reduction="none")
            ).backward()
            optimizer.step()
        assert counter.frame_count == 1

    def test_many_models_in_one_process(self, data: Batch) -> None:
        """Each has its own compilation; none uses up the number that torch allows of one."""
        for _ in range(12):
            counter, scoring = self.counting()
            Selector(nn.Linear(5, C), N, scoring=scoring)(*data)
            assert counter.frame_count == 1

    def test_what_is_trained_is_not_compiled(self, data: Batch) -> None:
        counter, scoring = self.counting()
        model = Recorder()
        selector = Selector(model, N, scoring=scoring, seed=0)
        batch = selector(*data)
        model(batch.x)
        assert counter.frame_count == 1
        assert model.rows[-1] == N

    def test_the_first_call_compiles_though_it_is_uniform(self, data: Batch) -> None:
        """A model that does not compile is found out at once, and for the size that scoring has."""
        counter, scoring = self.counting()
        selector = Selector(nn.Linear(5, C), N, scoring=scoring, start=After(2), seed=0)
        selector(*data)
        assert counter.frame_count == 1
        for _ in range(3):
            selector(*data)
        assert counter.frame_count == 1

    def test_a_model_that_the_user_compiled(self, data: Batch) -> None:
        counter, scoring = self.counting()
        model = torch.compile(nn.Linear(5, C), backend="eager")
        assert_close(picks(model, data, scoring), picks(model, data, None))
        assert counter.frame_count == 1

    def test_by_the_default_compiler(self, data: Batch) -> None:
        model = Recorder()
        before = copy.deepcopy(model.state_dict())
        assert_close(picks(model, data, ScoringPass(compile=True)), picks(model, data, None))
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])

    def test_a_copy_of_a_selector_compiles_by_itself(self, data: Batch) -> None:
        counter, scoring = self.counting()
        selector = Selector(nn.Linear(5, C), N, scoring=scoring, seed=0)
        selector(*data)
        copied = copy.deepcopy(selector)
        with torch.no_grad():
            selector.model.weight.zero_()
        before = copied.state_dict()
        expected = Selector(copied.model, N, seed=0)
        expected.load_state_dict(before)
        assert_close(copied(*data), expected(*data))
        assert counter.frame_count == 2


class TestForms:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_memory_format(self, channels: int) -> None:
        """By strides, which torch goes by: a single channel is contiguous in either format."""
        strides: list[tuple[int, ...]] = []
        model = convolutions(channels)
        model.register_forward_pre_hook(lambda _, inputs: strides.append(inputs[0].stride()))
        x, y = images(40)
        batch = x.repeat(1, channels, 1, 1), y
        scoring = ScoringPass(memory_format=torch.channels_last)
        assert_close(picks(model, batch, scoring), picks(model, batch, None))
        c = channels
        assert strides[0] == (784 * c, 1, 28 * c, c)
        assert strides[-1] == (784 * c, 784, 28, 1)

    def test_memory_format_leaves_other_tensors(self, data: Batch) -> None:
        model = Recorder()
        scoring = ScoringPass(memory_format=torch.channels_last)
        assert_close(picks(model, data, scoring), picks(model, data, None))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_autocast(self, dtype: torch.dtype, data: Batch) -> None:
        seen: list[torch.dtype] = []
        model = nn.Linear(5, C)
        model.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
        batch = picks(model, data, ScoringPass(autocast=dtype))
        model(batch.x)
        assert seen == [dtype, torch.float32]
        assert batch.weight.dtype == torch.float32

    @pytest.mark.parametrize(
        "returned",
        [
            lambda z: SimpleNamespace(logits=z, loss=None),
            lambda z: {"hidden": z.exp(), "logits": z},
            lambda z: (z, z.exp()),
            lambda z: [z.sum(), z],
        ],
        ids=["attribute", "dict", "tuple", "list"],
    )
    @pytest.mark.parametrize("chunk", [None, 10])
    @every_strategy
    def test_what_models_return(
        self, make: Any, chunk: int | None, returned: Any, data: Batch
    ) -> None:
        class Wrapped(Recorder):
            def forward(self, x: Tensor) -> Any:
                return returned(super().forward(x))

        model = Wrapped()
        plain = Recorder()
        plain.load_state_dict(model.state_dict())
        found = make(model, 4, scoring=ScoringPass(chunk=chunk), seed=0)(*data)
        expected = make(plain, 4, seed=0)(*data)
        assert torch.equal(found.index, expected.index)

    def test_logits_says_the_rest(self, data: Batch) -> None:
        class Wrapped(Recorder):
            def forward(self, x: Tensor) -> Any:
                return {"a": {"b": super().forward(x)}}

        model = Wrapped()
        with pytest.raises(TypeError, match=r"returned dict.*ScoringPass\(logits=lambda output"):
            picks(model, data, None)
        plain = Recorder()
        plain.load_state_dict(model.state_dict())
        scoring = ScoringPass(logits=lambda output: output["a"]["b"])
        assert_close(picks(model, data, scoring), picks(plain, data, None))


class TestAnotherModel:
    def test_gives_the_logits(self, data: Batch) -> None:
        model, proxy = Recorder(), Recorder()
        assert_close(picks(model, data, ScoringPass(model=proxy)), picks(proxy, data, None))
        assert model.rows == []

    def test_as_a_function_of_the_model(self, data: Batch) -> None:
        model = Recorder()
        model.body[1].eval()
        modes = [module.training for module in model.modules()]
        half = ScoringPass(model=lambda x: model(x / 2))
        batch = picks(model, data, half)
        assert [module.training for module in model.modules()] == modes
        assert model.saw_training == [False]
        assert_close(batch, picks(model, (data[0] / 2, data[1]), None))

    def test_both_are_switched_and_switched_back(self, data: Batch) -> None:
        model, proxy = Recorder(), Recorder()
        statistics = proxy.body[1].running_mean.clone()
        picks(model, data, ScoringPass(model=proxy))
        assert proxy.saw_training == [False]
        assert proxy.training and model.training
        assert torch.equal(proxy.body[1].running_mean, statistics)

    def test_its_last_layer_is_watched(self, data: Batch) -> None:
        model, proxy = Recorder(), Recorder()
        found = picks(model, data, ScoringPass(model=proxy, chunk=9), score="last_layer")
        assert_close(found, picks(proxy, data, None, score="last_layer"))

    def test_a_function_has_no_last_layer(self, data: Batch) -> None:
        model = Recorder()
        with pytest.raises(ValueError, match="calls a function, which has no layers"):
            picks(model, data, ScoringPass(model=lambda x: model(x)), score="last_layer")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"chunk": 0}, ValueError, "chunk"),
        ({"chunk": 1.5}, TypeError, "chunk"),
        ({"chunk": "most"}, ValueError, 'chunk is "most"'),
        ({"compile": "yes"}, TypeError, "compile is 'yes'"),
        ({"memory_format": "channels_last"}, ValueError, "memory_format is channels_last"),
        ({"autocast": torch.float32}, ValueError, r"autocast is torch\.float32"),
        ({"model": 3}, TypeError, "model is 3"),
        ({"logits": "logits"}, TypeError, "logits is 'logits'"),
    ],
)
def test_bad_settings(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ScoringPass(**options)


@every_strategy
def test_what_is_no_scoring_pass(make: Any) -> None:
    with pytest.raises(TypeError, match="scoring is 'fast', expected a ScoringPass or None"):
        make(nn.Linear(5, C), N, scoring="fast")


def test_its_repr_has_the_settings() -> None:
    assert repr(ScoringPass()) == "ScoringPass()"
    scoring = ScoringPass(64, compile=True, autocast=torch.bfloat16)
    assert repr(scoring) == "ScoringPass(chunk=64, compile=True, autocast=torch.bfloat16)"
