"""Arguments that are carried to a device arrive as they were."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import impsamp_fast as isf
from tests.devices import (
    CPU,
    GPUS,
    assert_same,
    carried,
    carry,
    is_available,
    no_synchronisation,
    required,
)

BASE = torch.arange(60.0)
TENSORS = {
    "contiguous": BASE.view(6, 10),
    "offset": BASE[7:],
    "strided": BASE.view(6, 10)[1::2, 3::3],
    "transposed": BASE.view(6, 10).t(),
    "repeated": BASE[5].expand(4, 3),
    "bytes of another dtype": BASE.view(torch.float16)[3:50],
    "scalar": BASE[17],
    "empty": BASE[3:3],
    "integers": torch.arange(9)[4:],
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_values_strides_and_alignment_stay(tensor: torch.Tensor) -> None:
    moved = carry(tensor, CPU)
    assert torch.equal(moved.nan_to_num(), tensor.nan_to_num())
    assert moved.dtype == tensor.dtype
    assert moved.stride() == tensor.stride()
    assert moved.storage_offset() == tensor.storage_offset()
    assert moved.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_gradients_are_asked_for_of_the_copy() -> None:
    tensor = torch.ones(3, requires_grad=True)
    moved = carry(tensor * 2, CPU)
    assert moved.requires_grad
    assert moved.is_leaf


@pytest.mark.parametrize("value", [None, 3, "x", torch.zeros(2, device="meta")])
def test_other_values_stay(value: object) -> None:
    assert carry(value, CPU) is value


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "make",
    [lambda parts: torch.nested.nested_tensor(parts), lambda parts: torch.stack(parts).to_sparse()],
    ids=["nested", "sparse"],
)
def test_what_has_no_strides_is_moved_as_it_is(make: Callable[..., torch.Tensor]) -> None:
    value = make([torch.ones(3), torch.zeros(3)])
    moved = carry(value, CPU)
    assert (moved.is_nested, moved.layout) == (value.is_nested, value.layout)


def test_a_tensor_that_changed_is_carried_again() -> None:
    draw = carried(isf.draw, CPU)
    weights = torch.tensor([1.0, 0.0])
    assert draw(weights, 1, seed=0).index.item() == 0
    weights[:] = torch.tensor([0.0, 1.0])
    assert draw(weights, 1, seed=0).index.item() == 1


def test_results_have_their_names() -> None:
    logits, target = torch.randn(9, 3), torch.zeros(9, dtype=torch.int64)
    assert torch.equal(
        carried(isf.row_stats, CPU)(logits, target).loss, isf.score(logits, target, "loss")
    )
    assert torch.equal(carried(isf.score, CPU)(logits, target), isf.score(logits, target))


def test_the_same_means_equal_on_the_cpu() -> None:
    one = torch.ones(1)
    assert_same(one, one.clone(), CPU)
    with pytest.raises(AssertionError):
        assert_same(one, one.nextafter(2 * one), CPU)
    assert_same(one, one.nextafter(2 * one), torch.device("cuda"))


def pytest_in_another_process(*arguments: str, **required: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=Path(__file__).parents[1],
        env={"PATH": "", "CUDA_VISIBLE_DEVICES": "", **required},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kind", GPUS)
def test_without_a_device_the_gpu_suite_is_skipped_unless_it_is_required(kind: str) -> None:
    if kind == "mps" and is_available("mps"):
        pytest.skip("an Apple GPU cannot be hidden")
    asked = ("-m", kind, "tests/batch/test_random_state.py")
    skipped = pytest_in_another_process(*asked, **{required(kind): "0"})
    assert skipped.returncode == 0, skipped.stdout + skipped.stderr
    assert "skipped" in skipped.stdout
    assert "passed" not in skipped.stdout
    failed = pytest_in_another_process(*asked, **{required(kind): "1"})
    assert failed.returncode != 0
    message = f"{required(kind)} is set, but torch finds no {GPUS[kind]}"
    assert message in failed.stdout + failed.stderr


@pytest.mark.cuda
def test_a_synchronisation_is_an_error_where_none_may_be(cuda: torch.device) -> None:
    tensor = torch.ones(3, device=cuda)
    with no_synchronisation(cuda):
        (tensor + 1).sum()
        with pytest.raises(RuntimeError, match="synchroniz"):
            tensor.sum().item()
    assert tensor.sum().item() == 3
