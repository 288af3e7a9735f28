"""Mini-batches of the rows that a small assistant expects to have a large loss."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast._checks import check_number, kind_of
from impsamp_fast._seeds import second_seed
from impsamp_fast.batch._nested import narrow
from impsamp_fast.batch.draw_rules import keep_each
from impsamp_fast.batch.queue import Queue
from impsamp_fast.batch.second_model import SecondModel

# Mini-batches whose losses were not heard, after which the queue says so.
_PATIENCE = 100


class Assistant(nn.Module):
    """The logit of a row's chance: linear in its numbers, with a bias for each class.

    Args:
        numbers: of a row.
        classes: C.
        seed: of the weights, which are 1e-3 N(0, 1).
    """

    def __init__(self, numbers: int, classes: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        normal = partial(torch.randn, generator=generator, dtype=torch.float32, device="cpu")
        self.numbers = nn.Parameter(1e-3 * normal(numbers))
        self.classes = nn.Parameter(1e-3 * normal(classes))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The logits [K] of x [K, numbers] and shares of the classes y [K, C]."""
        return x @ self.numbers + y @ self.classes


@final
class AutoAssist(Queue):
    r"""Selects rows by a small model that learns, from the losses of training, which are large.

    Zhang, Yu and Dhillon (2019): a row x of class y is selected with probability
    :math:`b + (1 - b)\,\sigma(W \cdot x + U_y)`, independently of the others; selected rows queue
    until there are n, and are not weighted, so that their mean is biased. After each mini-batch the
    assistant (W, U) takes a step of gradient descent towards telling whether a row's loss is above
    the moving average of the losses. The model scores nothing: a row that is not selected costs a
    product with W.

    The losses are those that ``batch.mean(losses)`` is called with. x is all numbers of a row; of a
    mapping, in the order of its names. Where it is ours: the assistant learns at once from each
    mini-batch, where the authors' runs in a process of its own, some batches behind; a class that
    is probabilities counts by these. Nothing is remembered of a sample.

    Args:
        model: is called once, with the first rows, to know the number of classes.
        n: rows per mini-batch, at least 1.
        base: b, in [0, 1]; 0.3 in the authors' code.
        rate: of the assistant's gradient descent, positive; 0.01 in the authors' code.
        weight_decay: its weight decay, at least 0; 1e-3 in the authors' code.
        momentum: of the moving average, in [0, 1); 0.75 in the authors' code.
        group: a process group whose ranks have one assistant and one average: it learns from their
            mini-batches together, whose losses they all tell. None is an assistant of this rank's.
        options: of a :class:`~impsamp_fast.Queue`.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
        RuntimeError: in a call, after 100 mini-batches of which no losses were heard.
    """

    def __init__(
        self,
        model: nn.Module,
        n: int,
        *,
        base: float = 0.3,
        rate: float = 0.01,
        weight_decay: float = 1e-3,
        momentum: float = 0.75,
        group: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(model, n, **options)
        self.base = check_number("base", base, 0, 1, open_high=False)
        self.rate = check_number("rate", rate, 0, open_low=True)
        self.weight_decay = check_number("weight_decay", weight_decay, 0)
        self.momentum = check_number("momentum", momentum, 0, 1)
        self.group = group
        self.options = options
        self._assistant: SecondModel | None = None
        # Moving sums of losses and of their number.
        self._losses = torch.zeros(2, dtype=torch.float32, device="cpu")
        self._unheard = 0

    @property
    def raw_size(self) -> int:
        """n; 0 while n rows wait."""
        return 0 if self.waiting >= self.n else int(self.n)

    def _select(self, x: Any, y: Tensor, seed: int) -> Tensor:
        if self._unheard > _PATIENCE:
            raise RuntimeError(
                f"AutoAssist has heard no losses of {_PATIENCE} mini-batches, and its assistant "
                "learns from nothing else: compute the loss with batch.mean(losses)"
            )
        inputs = self._inputs(x, y)
        logits = self._assistant_of(inputs)(lambda assistant: assistant(*inputs), inputs)
        prob = self.base + (1 - self.base) * logits.sigmoid()
        ignored = self._loss.ignored(y)
        if ignored is not None:
            prob = prob.masked_fill(ignored, 0)
        return keep_each(prob, seed).nonzero().squeeze(1)

    def _learner_of(self, x: Any, y: Tensor) -> Callable[[Tensor], None]:
        self._unheard += 1
        return partial(self._learn, x, y)

    def _learn(self, x: Any, y: Tensor, losses: Tensor) -> None:
        self._unheard = 0
        self._log.mark("training")
        known = losses.isfinite()
        sound = torch.where(known, losses, 0).to(torch.float32)
        inputs = self._inputs(x, y)
        assistant = self._assistant_of(inputs)
        seen = torch.stack([sound.sum(), known.sum().to(torch.float32)])
        seen = assistant.mean_of_ranks(seen)
        self._losses = torch.lerp(seen, self._losses.to(seen.device), self.momentum)
        large = (sound > self._losses[0] / self._losses[1].clamp(min=1e-30)).to(torch.float32)
        share = known.to(torch.float32) / max(1, len(losses))

        def loss(model: nn.Module) -> Tensor:
            assert isinstance(model, Assistant)
            wrong = F.binary_cross_entropy_with_logits(
                model(*inputs), large, share, reduction="sum"
            )
            # As the authors' loop has it: W decays once a step, by its size, U with each row.
            decay = model.numbers.square().sum() / max(1, len(losses))
            decay = decay + share @ inputs[1] @ model.classes.square()
            return wrong + self.weight_decay / 2 * decay

        assistant.train(loss, inputs)

    def _inputs(self, x: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers [K, d] of rows, and the shares [K, C] of their classes."""
        if self._assistant is None:
            few = min(self.n, y.shape[0])
            classes = self._logits(narrow(x, 0, few), y[:few]).shape[1]
            self._assistant = self._made(_flat(x).shape[1], classes, y.device)
        assert isinstance(self._assistant.model, Assistant)
        classes = self._assistant.model.classes.numel()
        made = partial(self._made, self._assistant.model.numbers.numel(), classes)
        self._assistant = self._assistant.on(y.device, made)
        if y.dim() == 2:
            return _flat(x), y.to(torch.float32)
        is_class = (y >= 0) & (y < classes)
        shares = F.one_hot(y.clamp(0, classes - 1).to(torch.int64), classes)
        return _flat(x), (shares * is_class.unsqueeze(1)).to(torch.float32)

    def _assistant_of(self, inputs: tuple[Tensor, Tensor]) -> SecondModel:
        assert self._assistant is not None
        assert isinstance(self._assistant.model, Assistant)
        expected, found = self._assistant.model.numbers.numel(), inputs[0].shape[1]
        if expected != found:
            raise ValueError(f"a row of x has {found} numbers, those before had {expected}")
        return self._assistant

    def _made(self, numbers: int, classes: int, device: torch.device) -> SecondModel:
        assistant = Assistant(numbers, classes, second_seed(self._seed)).to(device)
        descent = torch.optim.SGD(assistant.parameters(), lr=self.rate)
        model = SecondModel(assistant, descent, self.group)
        model.mark = self._log.mark
        return model

    def _memory(self) -> dict[str, Any]:
        assistant = None if self._assistant is None else self._assistant.state_dict()
        return {"assistant": assistant, "losses": self._losses.to("cpu", copy=True)}

    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        losses, assistant = memory["losses"], memory["assistant"]
        if not isinstance(losses, Tensor) or losses.shape != (2,):
            raise TypeError(f"the state's losses are {kind_of(losses)}, expected two numbers")
        if assistant is not None:
            self._like(assistant).check_state(assistant)

    def _load_memory(self, memory: Mapping[str, Any]) -> None:
        assistant = memory["assistant"]
        self._assistant = None if assistant is None else self._like(assistant)
        if self._assistant is not None:
            self._assistant.load_state_dict(assistant)
        self._losses = memory["losses"].clone()
        self._unheard = 0

    def _like(self, state: Mapping[str, Any]) -> SecondModel:
        """An assistant of the sizes that a state has."""
        weights = state["model"]
        numbers, classes = weights["numbers"].numel(), weights["classes"].numel()
        return self._made(numbers, classes, weights["numbers"].device)


def _flat(x: Any) -> Tensor:
    """All numbers of each row, [K, d] float32."""
    if isinstance(x, Tensor):
        return x.detach().reshape(x.shape[0], -1).to(torch.float32)
    parts = [x[name] for name in sorted(x)] if isinstance(x, Mapping) else x
    return torch.cat([_flat(part) for part in parts], dim=1)
