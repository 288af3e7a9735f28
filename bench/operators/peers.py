"""What else a user could write: each peer does the same job as one of our operators.

They are written as well as plain torch allows. In particular no one-hot matrix is built: taking 1
from the target's probability in place is several times faster when there are many classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EAGER, COMPILE = "plain torch", "torch.compile"  # among the candidates of a case


def eager_row_stats(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Per-row loss and |softmax - onehot|, each [K]."""
    loss = F.cross_entropy(logits, target, reduction="none")
    gradient = logits.softmax(-1)
    gradient.scatter_add_(1, target[:, None], gradient.new_full((len(target), 1), -1.0))
    return loss, torch.linalg.vector_norm(gradient, dim=-1)


def eager_select(logits: Tensor, target: Tensor, n: int) -> tuple[Tensor, ...]:
    """Index [n], unbiased weight [n], gradient norm [K] and loss [K]: a whole `select`."""
    loss, norm = eager_row_stats(logits, target)
    index = torch.multinomial(norm, n, replacement=True)
    weight = norm.sum() / (len(norm) * norm[index])
    return index, weight, norm, loss


def compiled(function: Callable[..., object], *inputs: object) -> Callable[..., object] | None:
    """`function` by torch.compile for inputs of these shapes, already compiled.

    None, with a message, where the compiler does not work (it needs one for C++): a peer less, not
    a failure of ours.
    """
    torch.compiler.reset()
    result: Callable[..., object] = torch.compile(function, dynamic=False, fullgraph=True)
    try:
        result(*inputs)
    except Exception as error:
        print(f"torch.compile does not work here: {str(error).strip().splitlines()[0]}")
        return None
    return result


def row_loop_grad_norm(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient norm of the output bias, row by row [K], as Knutsson et al. 2023 computed it.

    Each row costs a forward and a backward pass of its own. The authors also asked autograd for a
    graph of the gradient (`create_graph=True`); leaving that out makes this peer faster.
    """
    bias = list(model.parameters())[-1]
    norms = []
    for row, target in zip(x, y, strict=True):
        loss = F.cross_entropy(model(row[None]), target[None])
        (gradient,) = torch.autograd.grad(loss, bias)
        norms.append(gradient.norm().item())
    return torch.tensor(norms)
