"""The greedy choice of rows whose gradients span a vector."""

import torch
from torch import Tensor
from torch.compiler import is_compiling

from impsamp_fast._extension import _C


def spanning_rows(
    dz: Tensor, h: Tensor, product: Tensor, has_score: Tensor, order: Tensor, n: int, small: float
) -> Tensor:
    r"""n rows whose gradients :math:`g = dz \otimes h` span most of a vector, one by one.

    Of the residual r, at first the vector, the row of the largest :math:`|g \cdot r|` is taken, its
    g made orthogonal to those before and of length 1, and its part taken out of r. No g is formed.
    The CPU has a kernel; elsewhere these are some 20 operations of torch for each row.

    Args:
        dz: [K, C], float32 or float64.
        h: [K, D].
        product: [K], of each g with the vector.
        has_score: [K] bool; dz and h of other rows are zero, and they come last.
        order: [K] int64, of rows where nothing is left of the vector.
        n: how many, at most K.
        small: a share of the first size that is nothing but rounding.

    Returns:
        [n] int64, in the order in which they were taken.
    """
    if dz.is_cpu:
        run = torch.ops.impsamp_fast.spanning_rows if is_compiling() else _C.spanning_rows
        found: Tensor = run(dz, h, product, has_score, order, n, small)
        return found
    return spanning_rows_by_torch(dz, h, product, has_score, order, n, small)


def spanning_rows_by_torch(
    dz: Tensor, h: Tensor, product: Tensor, has_score: Tensor, order: Tensor, n: int, small: float
) -> Tensor:
    """The same on any device, which the host does not wait for."""
    K = dz.shape[0]
    # From 1 down to 1 / K in the order where nothing is left to go by.
    chance = torch.empty_like(product)
    chance[order] = torch.arange(K, 0, -1, dtype=dz.dtype, device=dz.device) / K
    squares = dz.square().sum(1) * h.square().sum(1)  # of each g with itself
    least = small * product.abs().amax()
    units = dz.new_zeros(K, n)  # products of each g with the orthonormal ones
    taken = torch.zeros_like(has_score)
    index = torch.empty(n, dtype=torch.int64, device=dz.device)
    for t in range(n):
        size = product.abs().masked_fill(taken, 0)
        size = torch.where(size.amax() > least, size, chance)
        size = torch.where(has_score, size, chance - 2)
        row = size.masked_fill(taken, -4).argmax().reshape(1)
        index[t] = row[0]
        taken = taken.index_fill(0, row, True)
        rest = (dz @ dz[row].T).squeeze(1) * (h @ h[row].T).squeeze(1)
        rest = rest - units[:, :t] @ units[row, :t].squeeze(0)
        square = rest[row]
        is_new = square > small * squares[row]
        length = torch.where(is_new, square, 1).sqrt()
        unit = torch.where(is_new, rest / length, 0)
        product = product - unit * (product[row] / length)
        units[:, t] = unit
    return index


def _fake_spanning_rows(
    dz: Tensor, h: Tensor, product: Tensor, has_score: Tensor, order: Tensor, n: int, small: float
) -> Tensor:
    return order.new_empty([n])


torch.library.register_fake("impsamp_fast::spanning_rows", _fake_spanning_rows)
