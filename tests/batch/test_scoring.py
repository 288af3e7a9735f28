"""Scoring: it leaves no trace in the model, and it finds the last layer's input."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast.batch import _without_trace
from impsamp_fast.batch.draw_rules import LossSplit
from impsamp_fast.batch.scoring_pass import Scorer
from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import After
from impsamp_fast.ops import select
from tests.devices import need_cuda
from tests.elsewhere import Elsewhere
from tests.toy import C, N


class Regularised(nn.Module):
    """Has all that scoring could disturb: statistics, dropout as a module and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.frozen = nn.BatchNorm1d(8).eval()
        self.instance = nn.InstanceNorm1d(1, track_running_stats=True)
        self.drop = nn.Dropout(0.5)
        self.shared = nn.Sequential(self.drop, self.norm)
        self.absent = None
        self.last = nn.Linear(8, C)
        self.saw_dropout: list[bool] = []
        self.saw_norm_training: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.shared(self.frozen(self.norm(self.first(x))))
        h = self.instance(h.unsqueeze(1)).squeeze(1)
        dropped = F.dropout(h, 0.5, training=self.training)
        self.saw_dropout.append(not torch.equal(h, dropped))
        self.saw_norm_training.append(self.norm.training or self.instance.training)
        return self.last(dropped)


def everything_of(model: nn.Module) -> dict[str, object]:
    """The modes, parameters, statistics and the random state, in a form that compares."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "tensors": {name: value.tolist() for name, value in model.state_dict().items()},
        "random state": torch.get_rng_state().tolist(),
    }


class TestScoringLeavesNoTrace:
    @pytest.mark.parametrize("dropout", [False, True])
    @pytest.mark.parametrize("training", [False, True])
    def test_in_modes_statistics_and_random_state(self, data, dropout, training):
        x, y = data
        model = Regularised().train(training)
        model.frozen.eval()
        before = everything_of(model)
        selector = Selector(model, N, dropout=dropout)
        before["random state"] = torch.get_rng_state().tolist()  # the seed came from it
        for _ in range(3):
            selector(x, y)
        assert everything_of(model) == before
        assert model.saw_dropout == [dropout and training] * 3
        assert model.saw_norm_training == [False] * 3

    @pytest.mark.parametrize("dropout", [False, True])
    def test_in_any_mixture_of_modes(self, data, dropout):
        x, y = data
        model = Regularised()
        selector = Selector(model, N, dropout=dropout)
        for _ in range(15):
            for module in model.modules():
                module.training = bool(torch.rand(()) < 0.5)
            before = everything_of(model)
            selector(x, y)
            assert everything_of(model) == before

    @pytest.mark.parametrize("dropout", [False, True])
    def test_when_the_forward_pass_raises(self, data, dropout):
        x, y = data
        model = Regularised()
        model.last = nn.Linear(9, C)
        selector = Selector(model, N, dropout=dropout)
        before, state = everything_of(model), selector.state_dict()
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            selector(x, y)
        assert everything_of(model) == before
        assert selector.state_dict() == state
        assert torch.is_grad_enabled()

    @pytest.mark.parametrize("dropout", [False, True])
    def test_in_the_random_numbers_of_training(self, data, dropout):
        x, y = data
        model = Regularised()

        def train() -> list[float]:
            return [model(x[:N]).sum().item() for _ in range(3)]

        selector = Selector(model, N, dropout=dropout, start=After(0))
        state = copy.deepcopy(model.state_dict())
        torch.manual_seed(3)
        expected = train()
        model.load_state_dict(state)
        torch.manual_seed(3)
        actual = []
        for _ in range(3):
            selector(x, y)
            actual.append(model(x[:N]).sum().item())
        assert actual == expected

    def test_when_the_user_changes_the_model_between_steps(self, data):
        x, y = data
        model = nn.Sequential(nn.Linear(5, C))
        selector = Selector(model, N)
        selector(x, y)
        model.append(nn.BatchNorm1d(C))
        model.append(nn.Dropout(0.5))
        before = everything_of(model)
        selector(x, y)
        assert everything_of(model) == before

    def test_even_of_a_model_that_draws_random_numbers_while_evaluating(self, data):
        class Noisy(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x + torch.randn_like(x))

        selector = Selector(Noisy(5, C), N)
        before = torch.get_rng_state()
        selector(*data)
        assert torch.equal(torch.get_rng_state(), before)

    def test_when_the_model_is_scripted(self, data):
        x, y = data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            model = torch.jit.script(nn.Sequential(nn.Linear(5, C), nn.BatchNorm1d(C)))
        before = everything_of(model)
        Selector(model, N, seed=0)(x, y)
        assert everything_of(model) == before

    def test_when_the_model_is_compiled(self, data):
        x, y = data
        original = nn.Sequential(nn.Linear(5, C), nn.BatchNorm1d(C), nn.Dropout(0.5))
        model = torch.compile(original, backend="eager")
        selector = Selector(model, N, seed=0)
        before = everything_of(original)
        batch = selector(x, y)
        assert everything_of(original) == before
        original.eval()
        assert torch.equal(batch.index, select(original(x).detach(), y, N, seed=0).index)
        original.train()
        model(x)
        assert everything_of(original) != before

    @pytest.mark.cuda
    def test_on_a_cuda_device(self, data):
        need_cuda()
        x, y = (value.cuda() for value in data)
        model = Regularised().cuda()
        selector = Selector(model, N, dropout=True)
        before = torch.cuda.get_rng_state()
        selector(x, y)
        assert torch.equal(torch.cuda.get_rng_state(), before)


class TestRandomStates:
    """Without an accelerator, torch's functions for it are played."""

    @pytest.fixture
    def states(self, monkeypatch) -> dict[str, Tensor]:
        """The states of the devices, by name."""
        states = {name: torch.tensor([0]) for name in ("cuda:0", "cuda:1", "cuda:2", "mps")}
        cuda = {
            "is_initialized": lambda: True,
            "is_current_stream_capturing": lambda: False,
            "get_rng_state": lambda device: states[str(device)].clone(),
            "set_rng_state": lambda state, device: states.update({str(device): state}),
        }
        for name, function in cuda.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(_without_trace, "_HAS_MPS", True)
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states["mps"].clone())
        monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: states.update(mps=state))
        return states

    def test_of_the_batch_and_the_model_are_put_back(self, states, data):
        class Drawing(nn.Linear):
            def forward(self, x: Tensor, elsewhere: Tensor) -> Tensor:
                for state in states.values():
                    state.add_(1)
                return super().forward(x)

        model = Drawing(5, C)
        part = nn.Module()
        part._parameters["weight"] = SimpleNamespace(device=torch.device("cuda", 0))
        part._buffers["mean"] = SimpleNamespace(device=torch.device("cuda", 1))
        part._parameters["bias"] = part._buffers["none"] = None
        model.part = part
        x, y = data
        Scorer(None, N, dropout=False)(model, {"x": x, "elsewhere": Elsewhere(x)}, y)
        assert {name: int(state) for name, state in states.items()} == {
            "cuda:0": 0,
            "cuda:1": 0,
            "cuda:2": 1,  # nothing of the batch or the model is there
            "mps": 0,
        }

    def test_are_not_read_while_a_graph_is_captured(self, states, data, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: 1 / 0)
        model = nn.Linear(5, C)
        model.register_buffer("there", None)
        model._buffers["there"] = SimpleNamespace(device=torch.device("cuda", 0))
        Scorer(None, N, dropout=False)(model, *data)


STEPS = 20


class TestCompiled:
    """A whole step is one graph, which holds the step's number as a variable."""

    @pytest.fixture(autouse=True)
    def _fresh_compiler(self):
        torch.compiler.reset()
        yield
        torch.compiler.reset()

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"method": "topk"},
            {"method": "race"},
            {"method": LossSplit()},
            {"score": lambda logits, y: logits.square().sum(-1)},
            {"start": After(5)},
            {"on_fault": "skip"},
        ],
        ids=["plain", "topk", "race", "rule", "own score", "start", "skip"],
    )
    @pytest.mark.parametrize("seed", [-5, 2**63 + 1])
    def test_picks_what_an_eager_step_picks(self, options, seed, data):
        model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, C))
        graphs: list[object] = []

        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward

        def step(selector: Selector, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            batch = selector(x, y)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            return batch.mean(losses), batch.index

        compiled = torch.compile(step, fullgraph=True, backend=backend)
        selector, expected = (Selector(model, N, seed=seed, **options) for _ in range(2))
        for _ in range(STEPS):
            loss, index = compiled(selector, *data)
            loss.backward()
            assert torch.equal(index, expected(*data).index)
        assert selector.state_dict() == expected.state_dict()
        assert len(graphs) <= 4  # not one for each step


class TestLastLayer:
    def test_scores_with_the_input_of_the_last_linear_layer(self, model, data):
        x, y = data
        batch = Selector(model, N, score="last_layer", seed=4)(x, y)
        logits = model(x).detach()
        features = model[:2](x).detach()
        expected = select(logits, y, N, "last_layer", features=features, seed=4)
        assert torch.equal(batch.index, expected.index)
        assert torch.equal(batch.weight, expected.weight)

    def test_leaves_no_hook(self, model, data):
        x, y = data
        Selector(model, N, score="last_layer")(x, y)
        with pytest.raises(RuntimeError):
            Selector(model, N, score="last_layer")(x[:, :4], y)
        assert not any(module._forward_hooks for module in model.modules())

    def test_needs_a_linear_layer(self, data):
        x, y = data
        with pytest.raises(ValueError, match=r"the model has no nn\.Linear"):
            Selector(nn.Identity(), N, score="last_layer")(x, y)

    def test_needs_a_bias_in_that_layer(self, data):
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, C, bias=False))
        with pytest.raises(ValueError, match=r"assumes a bias.* has none.*select\(.*features="):
            Selector(model, N, score="last_layer")(*data)

    def test_needs_that_layers_output_as_logits(self, model, data):
        x, y = data
        scaled = nn.Sequential(model, nn.LogSoftmax(-1))
        with pytest.raises(ValueError, match="does not return the output of its last"):
            Selector(scaled, N, score="last_layer")(x, y)

    @pytest.mark.parametrize("by_name", [True, False])
    def test_may_be_named(self, data, by_name):
        class TwoHeads(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Sequential(nn.Linear(5, 7), nn.ReLU())
                self.head = nn.Linear(7, C)
                self.unused = nn.Linear(7, C)

            def forward(self, x: Tensor) -> Tensor:
                return self.head(self.body(x))

        x, y = data
        model = TwoHeads()
        with pytest.raises(ValueError, match="output of its last"):
            Selector(model, N, score="last_layer")(x, y)
        layer = "head" if by_name else model.head
        batch = Selector(model, N, score="last_layer", layer=layer, seed=4)(x, y)
        features = model.body(x).detach()
        expected = select(model(x).detach(), y, N, "last_layer", features=features, seed=4)
        assert torch.equal(batch.index, expected.index)
        assert torch.equal(batch.weight, expected.weight)
        assert not any(module._forward_hooks for module in model.modules())

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            ("0", "does not return the output of its layer '0' as it is"),
            ("7", "layer is '7', but the model has no such part; its nn.Linear are: '0', '2'"),
            (nn.Linear(3, 3), r"layer is Linear.*, which is no part of the model"),
            ("1", "the model's layer '1' has none"),
        ],
    )
    def test_names_a_layer_that_does_not_fit(self, model, data, layer, message):
        with pytest.raises(ValueError, match=message):
            Selector(model, N, score="last_layer", layer=layer)(*data)
