"""What training does with a selector: batches of any structure, means, start rules, counts."""

from collections import OrderedDict, namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast.batch.selector import Selector
from impsamp_fast.batch.start import Always, LossRatio, VarianceReduction
from impsamp_fast.dataset.pick_counts import PickCounts
from impsamp_fast.ops import select
from tests.reference import select as reference_select
from tests.toy import C, Counted, K, N

Pair = namedtuple("Pair", ["left", "right"])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, C)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.layer(left - 2 * right)


class Nested(TwoInputs):
    def forward(self, pair: dict[str, Tensor], others: list[Tensor]) -> Tensor:
        return super().forward(pair["left"], others[0])


class TestStructures:
    @pytest.mark.parametrize(
        "pack",
        [
            lambda left, right: (left, right),
            lambda left, right: [left, right],
            Pair,
            lambda left, right: {"right": right, "left": left},
        ],
        ids=["tuple", "list", "namedtuple", "dict"],
    )
    def test_are_passed_to_the_model_and_kept(self, data, pack):
        left, y = data
        right = torch.randn(K, 5)
        model = TwoInputs()
        x = pack(left, right)
        batch = Selector(model, N, seed=1)(x, y)
        rows = select(model(left, right).detach(), y, N, seed=1).index
        assert torch.equal(batch.index, rows)
        assert type(batch.x) is type(x)
        expected = pack(left[rows], right[rows])
        if isinstance(x, dict):
            assert list(batch.x) == list(x)
            expected, picked = expected.values(), batch.x.values()
        else:
            picked = batch.x
        assert all(torch.equal(a, b) for a, b in zip(picked, expected, strict=True))

    def test_a_mapping_comes_back_as_a_dict(self, data):
        left, y = data
        x = OrderedDict(right=torch.randn(K, 5), left=left)
        batch = Selector(TwoInputs(), N)(x, y)
        assert type(batch.x) is dict
        assert list(batch.x) == ["right", "left"]
        assert torch.equal(batch.x["left"], left[batch.index])

    def test_may_be_nested(self, data):
        left, y = data
        right = torch.randn(K, 5)
        batch = Selector(Nested(), N)(({"left": left}, [right]), y)
        assert torch.equal(batch.x[0]["left"], left[batch.index])
        assert torch.equal(batch.x[1][0], right[batch.index])


class TestMean:
    def test_weighs_each_loss(self, model, data):
        batch = Selector(model, N)(*data)
        losses = torch.rand(N)
        expected = (losses.double() * batch.weight.double()).sum() / N
        torch.testing.assert_close(batch.mean(losses).double(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_adds_half_precision_up_in_single(self, model, data, dtype):
        batch = Selector(model, N)(*data)
        losses = torch.rand(N).to(dtype).requires_grad_()
        loss = batch.mean(losses)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, (losses.float() * batch.weight).mean())
        loss.backward()
        assert losses.grad.dtype == dtype

    @pytest.mark.parametrize("shape", [(), (1,), (N - 1,), (N, 1), (K,)])
    def test_wants_one_loss_per_row(self, model, data, shape):
        batch = Selector(model, N)(*data)
        with pytest.raises(ValueError, match=r'losses has shape .*expected \[16\].*"none"'):
            batch.mean(torch.zeros(shape))

    @pytest.mark.parametrize("losses", [1.0, [1.0] * N, torch.zeros(N).long()])
    def test_wants_a_floating_point_tensor(self, model, data, losses):
        batch = Selector(model, N)(*data)
        with pytest.raises(TypeError, match=r"losses is .*, expected a floating-point tensor"):
            batch.mean(losses)


class TestStartRules:
    def test_a_loss_ratio_hears_the_mean_of_each_mini_batch_once(self, model, data):
        rule = LossRatio(0.5)
        selector = Selector(model, N, start=rule)
        heard = []
        for loss in (4.0, 3.0, 1.0):
            batch = selector(*data)
            heard.append(batch.importance)
            batch.mean(torch.full((N,), loss))
            batch.mean(torch.zeros(N))  # another quantity of the same batch
        assert heard == [False, False, False]
        assert rule.state_dict() == {"started": True, "first": 4.0, "unread": []}
        assert selector(*data).importance

    def test_a_loss_ratio_that_hears_nothing_says_so(self, model, data):
        selector = Selector(model, N, start=LossRatio(0.5))
        with pytest.raises(RuntimeError, match=r"batch\.mean\(losses\)"):
            for _ in range(101):
                selector(*data)

    @pytest.mark.parametrize("method", ["multinomial", "systematic", "race", "pps", "topk"])
    def test_variance_reduction_hears_the_rows_that_were_scored(self, model, data, method):
        x, y = data
        counted = Counted(model)
        rule = VarianceReduction(threshold=0.6, momentum=0.5)
        selector = Selector(counted, N, method=method, start=rule, smoothing=0.2, seed=0)
        average = 0.0
        for step in range(4):
            batch = selector(x, y)
            scored = slice(None) if batch.importance else batch.index
            logits = model(x[scored]).detach()
            tau = reference_select(logits, y[scored], 1, smoothing=0.2, seed=0).tau.item()
            assert batch.importance == (average > 0.6)
            average = 0.5 * average + 0.5 * tau
            assert rule.state_dict()["average"] == pytest.approx(average, rel=1e-5)
            assert counted.rows[step] == (K if batch.importance else N)
        assert batch.importance

    def test_variance_reduction_learns_nothing_where_all_rows_are_ignored(self, model, data):
        x, y = data
        counted = Counted(model)
        rule = VarianceReduction()
        selector = Selector(counted, N, start=rule, ignore_index=2, seed=0)
        batch = selector(x, torch.full_like(y, 2))
        assert batch.index.unique().numel() == N
        assert counted.rows == []
        assert rule.state_dict() == {"average": 0.0, "unread": []}
        selector(x, y)
        assert counted.rows == [N]
        assert rule.state_dict()["average"] > 0

    def test_a_loss_ratio_waits_for_a_mini_batch_that_has_targets(self, model, data):
        x, y = data
        rule = LossRatio(0.5)
        selector = Selector(model, N, start=rule, seed=0)
        for target in (torch.full_like(y, -100), y):
            batch = selector(x, target)
            loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
        assert rule.state_dict() == {"started": False, "first": loss.item(), "unread": []}

    def test_always_is_the_default(self, model, data):
        assert Selector(model, N)(*data).importance
        assert Selector(model, N, start=Always())(*data).importance


class TestCounts:
    def test_counts_the_data_sets_samples(self, model, data):
        counts = PickCounts(1000)
        selector = Selector(model, N, counts=counts)
        expected = torch.zeros(1000, dtype=torch.int64)
        for _ in range(5):
            index = selector(*data, torch.randperm(1000)[:K]).index
            expected += torch.bincount(index, minlength=1000)
        assert torch.equal(counts.counts, expected)

    def test_needs_the_numbers_of_the_rows(self, model, data):
        with pytest.raises(ValueError, match=r"index is missing.*call selector\(x, y, index\)"):
            Selector(model, N, counts=PickCounts(1000))(*data)

    def test_a_number_out_of_range_counts_no_step(self, model, data):
        selector = Selector(model, N, counts=PickCounts(K), start=VarianceReduction(), seed=0)
        before = selector.state_dict()
        with pytest.raises(IndexError, match="but there are 64 samples"):
            selector(*data, torch.arange(K) + K)
        after = selector.state_dict()
        assert torch.equal(after["counts"].pop("counts"), before["counts"].pop("counts"))
        assert after == before


class TestTraining:
    def test_autocast(self, model, data):
        x, y = data
        selector = Selector(model, N, seed=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            batch = selector(x, y)
            logits = model(batch.x)
            batch.mean(F.cross_entropy(logits, batch.y, reduction="none")).backward()
        # Scoring casts the weights without a graph; training must not reuse these casts.
        actual = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected = select(model(x).detach(), y, N, seed=0)
        assert torch.equal(batch.index, expected.index)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            (losses * batch.weight).mean().backward()
        for gradient, parameter in zip(actual, model.parameters(), strict=True):
            assert torch.equal(gradient, parameter.grad)

    def test_gradient_accumulation(self, model, data):
        x, y = data
        selector = Selector(model, N, seed=0)
        batches = []
        for _ in range(4):
            batch = selector(x, y)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
            (batch.mean(losses) / 4).backward()
            batches.append(batch)
        accumulated = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        joint_x, joint_y = (torch.cat([getattr(batch, name) for batch in batches]) for name in "xy")
        weight = torch.cat([batch.weight for batch in batches])
        (F.cross_entropy(model(joint_x), joint_y, reduction="none") * weight).mean().backward()
        for gradient, parameter in zip(accumulated, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad)

    def test_data_loader_workers(self, model):
        x, y = torch.randn(200, 5), torch.randint(C, (200,))
        samples = torch.utils.data.TensorDataset(x, y, torch.arange(200))
        loader = torch.utils.data.DataLoader(
            samples, batch_size=K, shuffle=True, num_workers=2, drop_last=True
        )
        counts = PickCounts(200)
        selector = Selector(model, N, counts=counts)
        for inputs, target, index in loader:
            batch = selector(inputs, target, index)
            assert torch.equal(batch.x, x[batch.index])
            assert torch.equal(batch.y, y[batch.index])
        assert counts.counts.sum() == 3 * N
