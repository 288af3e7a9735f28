"""The compiled operators behind the memory of samples."""

from typing import Any

import pytest
import torch

from impsamp_fast._extension import _C

OPS = torch.ops.impsamp_fast


def arguments_of_an_update(dtype: torch.dtype) -> tuple[Any, ...]:
    n, size = 6, 4
    return (
        torch.randint(size, (n,)),
        torch.rand(n),
        torch.rand(n),
        torch.randint(9, (n,)),
        torch.zeros(size, dtype=torch.int32),
        torch.full((size,), 7.0),
        torch.zeros(size),
        torch.zeros(size),
        torch.zeros(size, 3, dtype=dtype),
        None,
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_opcheck(dtype):
    everything = arguments_of_an_update(dtype)
    index, losses, _, predicted, seen, loss, *_, labels, _ = everything
    for arguments in (
        everything,
        (*everything[:-1], torch.tensor(2)),
        (index, losses, None, None, seen, loss, None, None, None, None),
        (index, None, None, predicted, seen, None, None, None, labels, None),
    ):
        torch.library.opcheck(OPS.memory_update.default, arguments)
    torch.library.opcheck(OPS.label_entropy.default, (labels, torch.ones_like(seen), 9))


@pytest.mark.parametrize(
    ("position", "value", "error", "message"),
    [
        (0, torch.zeros(2, 3).long(), ValueError, "index has shape"),
        (1, torch.zeros(5), ValueError, r"losses has shape \[5\], but must be \[6\]"),
        (1, torch.zeros(6).long(), TypeError, "losses has dtype Long, but must be a floating"),
        (1, None, ValueError, "loss is given, but there are no rows for it"),
        (3, torch.full((6,), 256), IndexError, r"predicted\[0\] is 256, but there are 256 labels"),
        (3, torch.full((6,), -1), IndexError, r"predicted\[0\] is -1"),
        (4, torch.zeros(4), TypeError, "seen has dtype Float, but must be Int"),
        (5, torch.zeros(3), ValueError, r"loss has shape \[3\], but there are 4 samples"),
        (5, torch.zeros(8)[::2], ValueError, "loss must be on cpu and contiguous"),
        (6, None, ValueError, "p_true_mean is missing"),
        (8, torch.zeros(4, 3), TypeError, "labels has dtype Float"),
        (8, torch.zeros(4, 0, dtype=torch.uint8), ValueError, r"labels has shape \[4, 0\]"),
        (9, torch.zeros(1).long(), ValueError, "faulty_rows must be a scalar on cpu"),
        (9, torch.zeros(()), TypeError, "faulty_rows has dtype Float, but must be int64"),
    ],
)
def test_the_operator_checks_what_it_writes_to(position, value, error, message):
    arguments = list(arguments_of_an_update(torch.uint8))
    arguments[position] = value
    with pytest.raises(error, match=message):
        OPS.memory_update(*arguments)


def test_faulty_rows_are_left_out_and_counted():
    *arguments, _ = arguments_of_an_update(torch.uint8)
    index, losses, p_true, predicted, seen, loss, *_ = arguments
    index.copy_(torch.tensor([0, 1, 2, 3, 0, 1]))
    losses[0], p_true[1], predicted[2] = torch.inf, torch.nan, -(1 << 63)
    faulty_rows = torch.tensor(4)
    for call in (OPS.memory_update, _C.memory_update):
        call(*arguments, faulty_rows)
    assert faulty_rows == 4 + 2 * 3
    assert seen.tolist() == [2, 2, 0, 2]
    assert torch.equal(loss, torch.stack([losses[4], losses[5], torch.tensor(7.0), losses[3]]))


@pytest.mark.parametrize("call", [OPS.memory_update, _C.memory_update])
def test_autograd_hears_of_the_write(call):
    arguments = arguments_of_an_update(torch.uint8)
    factor = torch.ones(4, requires_grad=True)
    product = factor * arguments[5]
    call(*arguments)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()
