"""What the operators promise on every device, where it shows on an accelerator in particular."""

from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast.ops import raise_for_status
from tests.devices import CPU, last_device, synchronize
from tests.methods import METHODS

NAN, INF = float("nan"), float("inf")


def batch(device: torch.device, rows: int = 200, classes: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(rows, classes, generator=generator)
    target = torch.randint(classes, (rows,), generator=generator)
    return logits.to(device), target.to(device)


def every_operator(logits: Tensor, target: Tensor, **source: Any) -> dict[str, tuple[Tensor, ...]]:
    """The results of each operator; draws are by `source`."""
    features = logits[..., :2]
    source = source or {"seed": 5}
    return {
        "row_stats": isf.row_stats(logits, target),
        "score": (isf.score(logits, target, "last_layer", features),),
        "draw": isf.draw(isf.score(logits, target), 20, "race", **source),
        "select": isf.select(logits, target, 20, "loss", "pps", **source),
    }


def test_results_are_on_the_device_and_never_require_grad(device: torch.device) -> None:
    logits, target = batch(device)
    plain = every_operator(logits, target)
    tracked = every_operator(logits.requires_grad_(), target)
    for name, results in tracked.items():
        for result, expected in zip(results, plain[name], strict=True):
            assert result.device == logits.device, name
            assert not result.requires_grad, name
            assert torch.equal(result, expected), name


def test_in_inference_mode_and_under_autocast(device: torch.device) -> None:
    logits, target = batch(device)
    expected = every_operator(logits, target)
    for context in (torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16)):
        with context:
            found = every_operator(logits, target)
        for name, results in found.items():
            assert all(map(torch.equal, results, expected[name])), name


def test_nothing_to_do_for_no_rows(device: torch.device) -> None:
    logits, target = torch.zeros(0, 3, device=device), torch.zeros(0, device=device).long()
    assert [value.shape for value in isf.row_stats(logits, target)] == [(0,)] * 5
    assert isf.score(logits, target, "last_layer", logits).shape == (0,)
    with pytest.raises(ValueError, match="logits has no rows"):
        isf.select(logits, target, 1)
    with pytest.raises(ValueError, match="weights has no rows"):
        isf.draw(logits[:, 0], 1)


def empty_like(results: tuple[Tensor, ...]) -> Any:
    return type(results)(*(torch.empty_like(result) for result in results))


class TestOut:
    """Results written where the caller wants them."""

    def test_has_the_results(self, device: torch.device) -> None:
        logits, target = batch(device)
        weights = isf.score(logits, target)
        stats = isf.row_stats(logits, target)
        found = isf.row_stats(logits, target, out=empty_like(stats))
        assert all(map(torch.equal, found, stats))
        for kind in ("loss", "margin"):
            expected = isf.score(logits, target, kind)
            assert torch.equal(isf.score(logits, target, kind, out=expected + 1), expected)
        for method in METHODS:
            drawn = isf.draw(weights, 9, method, seed=3)
            assert all(
                map(torch.equal, isf.draw(weights, 9, method, 3, out=empty_like(drawn)), drawn)
            )
            for score in ("loss", "grad_norm"):
                picked = isf.select(logits, target, 9, score, method, seed=3)
                out = empty_like(picked)
                found = isf.select(logits, target, 9, score, method, seed=3, out=out)
                assert all(map(torch.equal, found, picked))

    def test_is_what_is_returned(self, device: torch.device) -> None:
        logits, target = batch(device)
        out = empty_like(isf.select(logits, target, 9))
        assert isf.select(logits, target, 9, out=out) is out
        score = torch.empty(len(logits), device=device)
        assert isf.score(logits, target, out=score) is score

    def test_draws_from_the_generator(self, device: torch.device) -> None:
        weights = isf.score(*batch(device))
        torch.manual_seed(4)
        expected = [isf.draw(weights, 30) for _ in range(3)]
        torch.manual_seed(4)
        for drawn in expected:
            assert torch.equal(isf.draw(weights, 30, out=empty_like(drawn)).index, drawn.index)

    @pytest.mark.parametrize(
        ("misfit", "error"),
        [
            (lambda x: x[:-1], ValueError),
            (lambda x: x.repeat_interleave(2)[::2], ValueError),
            (lambda x: x.half(), TypeError),
            (lambda x: x.to("meta"), ValueError),
            (lambda x: x.clone().requires_grad_(), ValueError),
        ],
    )
    def test_misfits_are_named(self, device: torch.device, misfit: Any, error: type) -> None:
        logits, target = batch(device)
        out = empty_like(isf.select(logits, target, 9))
        with pytest.raises(error, match=r"out\.weight"):
            isf.select(logits, target, 9, out=out._replace(weight=misfit(out.weight)))
        out = empty_like(isf.row_stats(logits, target))
        with pytest.raises(error, match=r"out\.margin"):
            isf.row_stats(logits, target, out=out._replace(margin=misfit(out.margin)))


class TestSeedOnTheDevice:
    """A seed that is a tensor is read by the draw, when it runs."""

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
    def test_draws_as_the_number_does(self, device: torch.device, method: str, seed: int) -> None:
        logits, target = batch(device)
        weights = isf.score(logits, target)
        number = torch.full((), seed, dtype=torch.int64, device=device)
        found, expected = (isf.draw(weights, 30, method, seed=s) for s in (number, seed))
        assert all(map(torch.equal, found, expected))
        found, expected = (
            isf.select(logits, target, 30, method=method, seed=s) for s in (number, seed)
        )
        assert all(map(torch.equal, found, expected))

    def test_is_an_int64_scalar(self, device: torch.device) -> None:
        weights = torch.ones(5, device=device)
        for seed in (torch.zeros(1), torch.zeros(()), torch.zeros(2).long(), torch.ones(()).int()):
            with pytest.raises((ValueError, TypeError), match="seed"):
                isf.draw(weights, 2, seed=seed.to(device))

    def test_and_a_generator_are_too_many(self, device: torch.device) -> None:
        seed = torch.zeros((), dtype=torch.int64, device=device)
        with pytest.raises(ValueError, match="only one of them can decide"):
            isf.draw(torch.ones(5, device=device), 2, seed=seed, generator=torch.Generator(device))


class TestValidate:
    def test_changes_nothing_that_is_right(self, device: torch.device) -> None:
        logits, target = batch(device)
        assert all(
            map(
                torch.equal,
                isf.row_stats(logits, target, validate=True),
                isf.row_stats(logits, target),
            )
        )
        found = isf.select(logits, target, 9, seed=1, validate=True)
        assert all(map(torch.equal, found, isf.select(logits, target, 9, seed=1)))

    def test_raises_what_the_cpu_raises(self, device: torch.device) -> None:
        logits, target = batch(device)
        target[17] = 7
        for operator, arguments in (
            (isf.row_stats, ()),
            (isf.score, ("entropy",)),
            (isf.select, (9,)),
        ):
            with pytest.raises(IndexError, match=r"target\[17\] is 7, but there are 7 classes"):
                operator(logits, target, *arguments, validate=True)
        with pytest.raises(ValueError, match=r"weights\[3\] is -1, but weights must be"):
            isf.draw(torch.tensor([1.0, 2.0, 3.0, -1.0], device=device), 2, validate=True)

    def test_leaves_the_device_usable(self, device: torch.device) -> None:
        """What is wrong is data, not an illegal access: the next call works."""
        logits, target = batch(device)
        expected = isf.row_stats(logits, target)
        for wrong in (2**62, -(2**62), -1, 7):
            with pytest.raises(IndexError):
                isf.row_stats(
                    logits, target.index_fill(0, target[:1] * 0 + 5, wrong), validate=True
                )
        assert all(map(torch.equal, isf.row_stats(logits, target), expected))


class TestWithoutWaiting:
    """What is wrong with values is marked, for whoever looks."""

    @pytest.mark.parametrize("classes", [2, 7, 100, 2000])
    @pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
    def test_a_faulty_row_is_nan_and_no_other(
        self, gpu: torch.device, classes: int, options: dict[str, float]
    ) -> None:
        logits, target = batch(gpu, classes=classes)
        target[150] = -100
        expected = isf.row_stats(logits, target, **options)
        wrong, wrong_target = logits.clone(), target.clone()
        wrong[3, 0], wrong[4, -1], wrong[5] = NAN, INF, -INF
        wrong_target[6], wrong_target[199], wrong_target[8] = classes, -1, 2**40
        faulty = torch.zeros(200, dtype=torch.bool, device=gpu)
        faulty[[3, 4, 5, 6, 8, 199]] = True
        found = isf.row_stats(wrong, wrong_target, **options)
        for name, value in found._asdict().items():
            assert torch.equal(value.isnan(), faulty), name
            assert torch.equal(value[~faulty], getattr(expected, name)[~faulty]), name
        for kind in ("loss", "grad_norm", "p_wrong", "margin", "entropy"):
            assert torch.equal(isf.score(wrong, wrong_target, kind, **options).isnan(), faulty), (
                kind
            )

    def test_a_bad_class_weight_or_feature_or_probability(self, gpu: torch.device) -> None:
        logits, target = batch(gpu)
        weight = torch.ones(7, device=gpu)
        weight[4] = -1.0
        found = isf.row_stats(logits, target, class_weight=weight).loss
        assert torch.equal(found.isnan(), target == 4)
        features = torch.ones(200, 3, device=gpu)
        features[11, 1] = INF
        found = isf.score(logits, target, "last_layer", features)
        assert found.isnan().nonzero().tolist() == [[11]]
        probability = torch.rand(200, 7, device=gpu).softmax(-1)
        probability[13, 2] = -0.5
        found = isf.row_stats(logits, probability).loss
        assert found.isnan().nonzero().tolist() == [[13]]

    @pytest.mark.parametrize("rows", [20, 5000, 200_000])
    @pytest.mark.parametrize("method", METHODS)
    def test_a_draw_that_cannot_be_made(self, gpu: torch.device, rows: int, method: str) -> None:
        n = 12
        for value in (-1.0, NAN, INF):
            weights = torch.rand(rows, device=gpu) + 0.1
            weights[rows - 3] = value
            drawn = isf.draw(weights, n, method, seed=1)
            assert drawn.prob.isnan().all()
            assert drawn.index.tolist() == [0] * n
        if method in ("race", "pps", "topk"):
            weights = torch.zeros(rows, device=gpu)
            weights[:11] = 1.0
            drawn = isf.draw(weights, n, method, seed=1)
            assert drawn.prob.isnan().all()
            assert drawn.index.tolist() == list(range(n))

    @pytest.mark.parametrize(("rows", "classes"), [(20, 7), (4097, 3), (5000, 100), (200_000, 2)])
    @pytest.mark.parametrize("method", METHODS)
    def test_a_selection_says_it_in_its_status(
        self, gpu: torch.device, rows: int, classes: int, method: str
    ) -> None:
        logits, target = batch(gpu, rows, classes)

        def status(logits: Tensor, target: Tensor, n: int = 12, **options: Any) -> int:
            picked = isf.select(logits, target, n, method=method, seed=1, **options)
            value = int(picked.status.item())
            if value:
                fallback = [0] * n if value > 0 else [i % rows for i in range(n)]
                assert picked.index.tolist() == fallback
                assert (picked.weight == 0).all()
                with pytest.raises((ValueError, IndexError)):
                    raise_for_status(picked, logits, target, n, method, **options)
            return value

        assert status(logits, target) == 0
        wrong = logits.clone()
        wrong[9, 1], wrong[15, 0] = NAN, INF
        assert status(wrong, target) == 1 + 9
        wrong_target = target.clone()
        wrong_target[13], wrong_target[18] = classes, -7
        assert status(logits, wrong_target) == 1 + 13
        ignored = torch.full_like(target, -100)
        assert status(logits, ignored) == -1
        ignored[:5] = 0
        assert status(logits, ignored) == (-1 - 5 if method in ("race", "pps", "topk") else 0)

    def test_more_draws_than_rows(self, gpu: torch.device) -> None:
        logits, target = batch(gpu, 20)
        picked = isf.select(logits * NAN, target, 50)
        assert picked.index.tolist() == [i % 20 for i in range(50)]

    def test_nothing_is_lost_for_the_next_call(self, gpu: torch.device) -> None:
        logits, target = batch(gpu)
        expected = every_operator(logits, target)
        every_operator(logits * NAN, target + 2**40)
        for name, results in every_operator(logits, target).items():
            assert all(map(torch.equal, results, expected[name])), name
        synchronize(gpu)


class TestDevices:
    def test_arguments_on_two_devices_are_named(self, gpu: torch.device) -> None:
        logits, target = batch(gpu)
        weights, there = logits[:, 0].abs(), gpu.type
        with pytest.raises(ValueError, match=f"target is on cpu, but logits is on {there}"):
            isf.row_stats(logits, target.cpu())
        with pytest.raises(ValueError, match=f"target is on {there}.*, but logits is on cpu"):
            isf.select(logits.cpu(), target, 2)
        with pytest.raises(ValueError, match=f"features is on cpu, but logits is on {there}"):
            isf.score(logits, target, "last_layer", logits.cpu())
        with pytest.raises(ValueError, match=f"class_weight is on cpu, but logits is on {there}"):
            isf.row_stats(logits, target, class_weight=torch.ones(7))
        with pytest.raises(ValueError, match=f"generator is on cpu, but the draw is on {there}"):
            isf.draw(weights, 2, generator=torch.Generator())
        with pytest.raises(ValueError, match=f"seed is on cpu, but the draw is on {there}"):
            isf.draw(weights, 2, seed=torch.zeros((), dtype=torch.int64))
        drawn = isf.draw(weights, 2)
        with pytest.raises(ValueError, match=rf"out\.prob is on cpu, but the result is on {there}"):
            isf.draw(weights, 2, out=drawn._replace(prob=drawn.prob.cpu()))

    @pytest.mark.cuda
    def test_another_device_than_the_current_one(self, cuda: torch.device) -> None:
        """Where there is one device only, that one."""
        with torch.cuda.device(0):
            device = last_device()
            expected = every_operator(*batch(torch.device("cuda", 0)))
            found = every_operator(*batch(device))
            for name, results in found.items():
                for result, value in zip(results, expected[name], strict=True):
                    assert result.device == device
                    assert torch.equal(result.cpu(), value.cpu()), name
            assert torch.cuda.current_device() == 0
            torch.cuda.manual_seed_all(3)
            on_last = isf.draw(torch.ones(1000, device=device), 50).index
            on_first = isf.draw(torch.ones(1000, device="cuda:0"), 50).index
            if device.index != 0:
                assert torch.equal(on_last.cpu(), on_first.cpu()), "each has a generator of its own"

    def test_the_default_device_of_torch_changes_nothing(self, gpu: torch.device) -> None:
        logits, target = batch(CPU)
        expected = every_operator(logits, target)
        with torch.device(gpu):
            found = every_operator(logits, target)
        for name, results in found.items():
            assert all(map(torch.equal, results, expected[name])), name
