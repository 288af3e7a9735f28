"""Results in the caller's tensors, seeds in tensors, and what validate and a status raise."""

from typing import Any

import pytest
import torch
from torch import Tensor

import impsamp_fast as isf
from impsamp_fast import ops
from impsamp_fast.ops import _status
from tests.dtypes import DTYPES
from tests.methods import METHODS

OPERATORS = ["row_stats", "score", "draw", "select"]
K, C, N = 40, 5, 8


def arguments(operator: str, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    if operator == "draw":
        return {"weights": torch.rand(K).to(dtype), "n": N, "seed": 3}
    rows: dict[str, Any] = {"logits": torch.randn(4, K // 4, C).to(dtype)}
    rows["target"] = torch.randint(C, (4, K // 4))
    if operator != "select":
        return rows
    return rows | {"n": N, "score": "margin", "method": "pps", "smoothing": 0.1, "seed": 3}


def run(operator: str, given: dict[str, Any], **more: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """What the operator returns, and the tensors in it."""
    result = getattr(isf, operator)(**given | more)
    return result, (result,) if isinstance(result, Tensor) else result


def place(result: Any, tensors: tuple[Tensor, ...]) -> Any:
    """Tensors of any content in the form of a result."""
    return tensors[0] if isinstance(result, Tensor) else type(result)(*tensors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_out_holds_the_results_and_is_returned(operator: str, dtype: torch.dtype) -> None:
    given = arguments(operator, dtype)
    expected, values = run(operator, given)
    into = place(expected, tuple(torch.full_like(value, 77) for value in values))
    found, found_values = run(operator, given, out=into)
    assert found is into
    assert all(map(torch.equal, found_values, values))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_the_same_into_out(method: str) -> None:
    expected = isf.draw(weights := torch.rand(K), N, method, seed=5)
    into = isf.Draw(torch.empty(N, dtype=torch.int64), torch.empty(N))
    assert all(map(torch.equal, isf.draw(weights, N, method, seed=5, out=into), expected))


def test_the_loss_as_score_is_there_twice() -> None:
    given = arguments("select") | {"score": "loss"}
    expected, values = run("select", given)
    into = isf.Selection(*(torch.empty_like(value) for value in values))
    isf.select(**given, out=into)
    assert torch.equal(into.score, into.loss)
    assert torch.equal(into.score, expected.score)
    assert into.score.data_ptr() != into.loss.data_ptr()


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *(("shape", ValueError), ("dtype", TypeError), ("device", ValueError)),
        *(("stride", ValueError), ("none", TypeError), ("grad", ValueError)),
        *(("overlap", ValueError), ("sparse", TypeError), ("negated", ValueError)),
    ],
)
def test_out_that_does_not_fit_is_named(
    operator: str, position: int, fault: str, error: type[Exception]
) -> None:
    given = arguments(operator)
    expected, values = run(operator, given)
    if position >= len(values):
        return
    good = [torch.full_like(value, 77) for value in values]
    value = good[position]
    bad: Any = {
        "shape": lambda: torch.empty((*value.shape, 1), dtype=value.dtype),
        "dtype": lambda: value.to(torch.float16),
        "device": lambda: value.to("meta"),
        "stride": lambda: torch.empty(3 * value.numel() + 1, dtype=value.dtype).as_strided(
            value.shape, [3 * stride for stride in value.stride()]
        ),
        "none": lambda: None,
        "grad": lambda: value.to(torch.float32).requires_grad_(),
        "overlap": lambda: (
            given.get("logits", given.get("weights")).view(-1)[: value.numel()].view(value.shape)
        ),
        "sparse": lambda: value.to_sparse(),
        "negated": lambda: torch._neg_view(value),
    }[fault]()
    if value.dim() == 0 and fault in ("stride", "sparse"):
        return  # a scalar is always contiguous
    if value.dtype != torch.float32 and fault in ("grad", "overlap"):
        return  # of another dtype than what would be needed
    out = place(expected, (*good[:position], bad, *good[position + 1 :]))
    name = "out" if operator == "score" else f"out.{expected._fields[position]}"
    if operator == "score" and fault == "none":
        return  # None is no out at all
    with pytest.raises(error, match=rf"^{name} "):
        run(operator, given, out=out)
    untouched = (*good[:position], *good[position + 1 :])
    assert all(bool((value == 77).all()) for value in untouched), "nothing is half done"


def test_out_in_one_memory_is_refused() -> None:
    given = arguments("row_stats")
    stats = isf.row_stats(**given)
    twice = stats._replace(entropy=stats.margin)
    with pytest.raises(ValueError, match=r"out\.entropy shares memory with out\.margin"):
        isf.row_stats(**given, out=twice)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("out", [3, "x", (), (torch.empty(1),), object(), {}])
def test_out_of_another_kind_is_refused(operator: str, out: Any) -> None:
    with pytest.raises(TypeError, match=r"^out is .*, but must be a (RowStats|Tensor|Draw|Selec)"):
        run(operator, arguments(operator), out=out)


def test_autograd_knows_that_out_was_written_to() -> None:
    """A loss must not be differentiated with weights that a later selection has overwritten."""
    given = arguments("select")
    picked = isf.select(**given)
    losses = torch.rand(N, requires_grad=True)
    loss = (picked.weight * losses).mean()
    isf.select(**given | {"seed": 4}, out=picked)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_that_require_grad_are_taken() -> None:
    given = arguments("score")
    expected = isf.score(**given)
    given["logits"].requires_grad_()
    into = torch.empty_like(expected)
    assert torch.equal(isf.score(**given, out=into), expected)
    assert not into.requires_grad


def test_out_under_inference_mode() -> None:
    given = arguments("select")
    expected = isf.select(**given)
    with torch.inference_mode():
        into = isf.Selection(*(torch.empty_like(value) for value in expected))
        isf.select(**given, out=into)
    assert all(map(torch.equal, into, expected))


def test_lazily_negated_arguments_with_out() -> None:
    """They go by way of torch's dispatcher, which negates them in memory."""
    weights = torch.rand(K)
    expected = isf.draw(weights, N, seed=1)
    into = isf.Draw(torch.empty(N, dtype=torch.int64), torch.empty(N))
    isf.draw(torch._neg_view(-weights), N, seed=1, out=into)
    assert all(map(torch.equal, into, expected))


# ------------------------------------------------------------------------------- seeds in tensors


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 7, -5, 2**63 - 1, -(2**63)])
def test_a_seed_in_a_tensor_is_the_number(method: str, seed: int) -> None:
    held = torch.tensor(seed)
    weights = torch.rand(K, dtype=torch.float64)
    expected = isf.draw(weights, N, method, seed)
    assert all(map(torch.equal, isf.draw(weights, N, method, held), expected))
    given = arguments("select") | {"method": method}
    expected_selection = isf.select(**given | {"seed": seed})
    found = isf.select(**given | {"seed": held})
    assert isinstance(found, isf.Selection)
    assert all(map(torch.equal, found, expected_selection))


def test_a_seed_in_a_tensor_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    isf.draw(torch.rand(K, generator=torch.Generator()), N, seed=torch.tensor(3))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (torch.tensor(1.5), TypeError, "seed has dtype Float"),
        (torch.tensor(1, dtype=torch.int32), TypeError, "seed has dtype Int"),
        (torch.tensor([1]), ValueError, r"seed has shape \[1\]"),
        (torch.tensor(1, device="meta"), ValueError, "seed is on meta, but the draw is on cpu"),
    ],
)
@pytest.mark.parametrize("operator", ["draw", "select"])
def test_a_tensor_that_is_no_seed(
    operator: str, seed: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(operator, arguments(operator) | {"seed": seed})


def test_a_seed_in_a_tensor_and_a_generator() -> None:
    for operator in ("draw", "select"):
        given = arguments(operator) | {"seed": torch.tensor(1), "generator": torch.Generator()}
        with pytest.raises(ValueError, match="seed and generator are both given"):
            run(operator, given)


@pytest.mark.parametrize("n", [0, -1, 2**40, 2**62, K + 1, 1.5, None, "x"])
@pytest.mark.parametrize("operator", ["draw", "select"])
def test_a_bad_n_with_a_seed_in_a_tensor(operator: str, n: Any) -> None:
    given = arguments(operator) | {"seed": torch.tensor(1), "method": "race", "n": n}
    with pytest.raises((ValueError, TypeError), match="n is"):
        run(operator, given)


@pytest.mark.parametrize("value", [None, 3, "x", [1.0]])
def test_no_tensor_with_a_seed_in_a_tensor(value: Any) -> None:
    with pytest.raises(TypeError, match="weights is"):
        isf.draw(value, N, seed=torch.tensor(1))
    with pytest.raises(TypeError, match="logits is"):
        isf.select(value, torch.zeros(3).long(), N, seed=torch.tensor(1))


def test_a_compiled_graph_reads_the_seed_it_is_given() -> None:
    torch.compiler.reset()
    compiled = torch.compile(isf.draw, fullgraph=True, backend="aot_eager", dynamic=True)
    weights = torch.rand(K)
    for seed, n in ((1, N), (2, N), (2, N + 1)):
        found = compiled(weights, n, seed=torch.tensor(seed))
        assert all(map(torch.equal, found, isf.draw(weights, n, seed=seed)))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_out_is_written_to(backend: str) -> None:
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend=backend)
    def step(logits: Tensor, target: Tensor, into: isf.Selection) -> Tensor:
        picked = isf.select(logits, target, N, seed=into.index.new_zeros(()), out=into)
        return picked.weight * 2

    given = arguments("select")
    expected = isf.select(given["logits"], given["target"], N, seed=0)
    into = isf.Selection(*(torch.full_like(value, 77) for value in expected))
    assert torch.equal(step(given["logits"], given["target"], into), expected.weight * 2)
    assert all(map(torch.equal, into, expected))


# --------------------------------------------------------------------------------- validate, status


@pytest.mark.parametrize("operator", OPERATORS)
def test_validate_changes_nothing_on_the_cpu(operator: str) -> None:
    given = arguments(operator)
    _, values = run(operator, given)
    assert all(map(torch.equal, run(operator, given, validate=True)[1], values))
    name = "weights" if operator == "draw" else "logits"
    given[name].view(-1)[7] = float("nan")
    with pytest.raises(ValueError, match=name):
        run(operator, given, validate=True)


def failed(status: int) -> isf.Selection:
    """What an accelerator leaves of a selection that failed."""
    selection = isf.select(**arguments("select"))
    return selection._replace(status=torch.tensor(status))


def test_raise_for_status_raises_what_the_cpu_would() -> None:
    given = arguments("select")
    options = {name: given[name] for name in ("score", "smoothing")}
    call = (given["logits"], given["target"], N, "pps")
    ops.raise_for_status(failed(0), *call, **options)
    given["target"].view(-1)[13] = C
    with pytest.raises(IndexError, match=r"target\[1, 3\] is 5, but there are 5 classes"):
        ops.raise_for_status(failed(14), *call, **options)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (14, r"score\[13\] is not finite"),
        (-1, "target is ignore_index in every row"),
        (-6, 'n is 8, but only 5 weights are positive and method "race" draws without'),
    ],
)
def test_a_status_alone_tells_what_it_can(status: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raise _status.status_error(status, 8, "race")
    given = arguments("select")
    with pytest.raises(ValueError, match=message):
        ops.raise_for_status(failed(status), given["logits"], given["target"], 8, "race")
