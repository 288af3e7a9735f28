"""Curricula by the moving percentile of the losses, and the network that learns one."""

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impsamp_fast._checks import (
    check_integer,
    check_number,
    check_range,
    check_saved_integers,
    kind_of,
)
from impsamp_fast._seeds import seed_of_run
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.second_model import SecondModel

_PERCENTS = 100  # of the training, each with an embedding


class _OnPercentile(LearnedScore):
    """A score by the moving average of the p-th percentile of the losses, lambda_1."""

    def __init__(self, percentile: float, decay: float) -> None:
        self.percentile = check_number("percentile", percentile, 0, 1, open_high=False)
        self.decay = check_number("decay", decay, 0, 1)
        self._average = torch.full((), torch.nan, dtype=torch.float32, device="cpu")

    def _next(self, losses: Tensor, y: Tensor) -> Tensor:
        """The average with these losses in it, []; at first their percentile itself."""
        if self._average.device != losses.device:
            self._average = self._average.to(losses.device)
        known = torch.where(self.is_known(losses, y), losses, torch.nan)
        found = known.nanquantile(self.percentile)
        average = self._average.to(losses.dtype)
        mixed = torch.where(average.isnan(), found, torch.lerp(found, average, self.decay))
        return torch.where(found.isnan(), average, mixed)

    def _keep(self, average: Tensor) -> None:
        self._average = average.to(torch.float32)

    def _check_average(self, state: Mapping[str, Any]) -> None:
        average = state["average"]
        if not isinstance(average, Tensor) or average.dtype != torch.float32 or average.dim():
            raise TypeError(f"the state's average is {kind_of(average)}, expected a float32 scalar")


@final
class Curriculum(_OnPercentile):
    r"""Scores a row by a predefined curriculum: the easier rows, by the losses of late.

    Jiang et al. (2018), the predefined MentorNet: with :math:`\lambda_1` the moving average of the
    p-th percentile of the losses, a row of loss L has
    :math:`v = \min(1, \max(0, 1 - (L - \lambda_1) / \lambda_2))`, and for :math:`\lambda_2 = 0`
    the indicator of :math:`L \le \lambda_1`.

    Where it is ours: the average begins with the first percentile, where the authors' code begins
    with 0. No bytes per sample.

    Args:
        percentile: p, in [0, 1]; the paper's is 0.75.
        slope: lambda_2, at least 0; the default is ours.
        decay: of the moving average, in [0, 1); 0.9 in the authors' code.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(self, *, percentile: float = 0.75, slope: float = 0.0, decay: float = 0.9) -> None:
        super().__init__(percentile, decay)
        self.slope = check_number("slope", slope, 0)

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        """v, [K]."""
        losses = self.losses(logits, y)
        return curriculum(losses, self._next(losses, y), self.slope)

    def learn(self, logits: Tensor, y: Tensor) -> None:  # type: ignore[override]
        """Takes in the percentile of the losses."""
        self._keep(self._next(self.losses(logits, y), y))

    def state_dict(self) -> dict[str, Any]:
        """The ``average`` of the percentile; NaN before the first."""
        return {"average": self._average.to("cpu", copy=True)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError, TypeError)."""
        self.check_keys(state, "average")
        self._check_average(state)
        self._keep(state["average"].clone())


class MentorNet(nn.Module):
    """From the loss of a row, its label and the progress of the training to a weight in (0, 1).

    The network of Jiang et al. (2018): the loss and its difference to the moving percentile go
    through an LSTM of one unit in each direction, the label through an embedding of 2 numbers, the
    percent of the training through one of 5 that is not trained; a layer of 20 tanh and a sigmoid
    follow. 9 inputs, 200 weights and one more layer of 21, besides the embeddings.

    Args:
        classes: C.
        device: of the weights, as in any module of torch.
        dtype: likewise.
    """

    def __init__(
        self,
        classes: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.losses = nn.LSTM(2, 1, bidirectional=True, batch_first=True, **kind)
        self.label = nn.Embedding(classes, 2, **kind)
        self.percent = nn.Embedding(_PERCENTS, 5, **kind)
        self.percent.weight.requires_grad_(False)
        self.hidden = nn.Linear(9, 20, **kind)
        self.out = nn.Linear(20, 1, **kind)

    def forward(self, loss: Tensor, difference: Tensor, label: Tensor, percent: Tensor) -> Tensor:
        """The weights [K]; all arguments [K], labels and percents integers."""
        _, (hidden, _) = self.losses(torch.stack([loss, difference], dim=1).unsqueeze(1))
        inputs = [self.label(label), self.percent(percent), hidden.transpose(0, 1).flatten(1)]
        weight: Tensor = self.out(self.hidden(torch.cat(inputs, dim=1)).tanh()).squeeze(1)
        return weight.sigmoid()


@final
class MentorScore(_OnPercentile):
    r"""Scores a row by a MentorNet, which is trained in the same loop.

    Jiang et al. (2018): :class:`~impsamp_fast.MentorNet` sees the loss, its difference to the
    moving p-th percentile, the label and the percent of the training that is done. It learns from
    the rows that were scored, by Adam: to be the curriculum v of
    :class:`~impsamp_fast.Curriculum`, by the mean squared error; or, with ``clean``, to tell right
    from wrong labels on samples of which that is known, by the binary cross entropy.

    Where it is ours: it is trained along, where the authors train it before, and by the given rate.
    The authors' released network is always given the label 0. 4 bytes per sample with ``clean``,
    for which calls need ``index``; else none.

    Args:
        percentile: p, in [0, 1]; the paper's is 0.75.
        slope: lambda_2 of the curriculum, at least 0.
        decay: of the moving average, in [0, 1).
        clean: [N], floating point, by sample number: 1 where the label is known to be right, 0
            where it is known to be wrong, NaN elsewhere.
        steps: of the whole training, a large batch each; None leaves the network without its
            percent.
        burn_in: those of them that are over when the first large batch is scored. From there on
            each that is scored is one more.
        rate: of Adam, positive.
        seed: of the network's first weights.
        group: a process group whose ranks have one network and one percentile, the mean of theirs;
            they score in the same steps. None is a network of this rank's own.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        *,
        percentile: float = 0.75,
        slope: float = 0.0,
        decay: float = 0.9,
        clean: Tensor | None = None,
        steps: int | None = None,
        burn_in: int = 0,
        rate: float = 0.01,
        seed: int | None = None,
        group: Any = None,
    ) -> None:
        super().__init__(percentile, decay)
        self.slope = check_number("slope", slope, 0)
        if clean is not None and not (isinstance(clean, Tensor) and clean.is_floating_point()):
            raise TypeError(f"clean is {kind_of(clean)}, expected a floating-point tensor or None")
        self.clean = clean
        self.steps = None if steps is None else check_integer("steps", steps, 1)
        self.burn_in = check_integer("burn_in", burn_in, 0)
        self.rate = check_number("rate", rate, 0, open_low=True)
        self.seed = seed
        self.group = group
        self._seed = seed_of_run(seed)
        self._step = 0
        self._clean_there = clean

    def __call__(  # type: ignore[override]
        self, logits: Tensor, y: Tensor, index: Tensor | None = None
    ) -> Tensor:
        """The network's weights, [K]."""
        losses = self.losses(logits, y)
        inputs = self._inputs(logits, y, losses, self._next(losses, y))
        model = self._network(logits.shape[1], logits.device)
        weight = model(lambda network: network(*inputs), inputs)
        return torch.where(losses.isnan(), torch.nan, weight).to(losses.dtype)

    def learn(  # type: ignore[override]
        self, logits: Tensor, y: Tensor, index: Tensor | None = None
    ) -> None:
        """Takes in the percentile of the losses, and trains the network."""
        losses = self.losses(logits, y)
        average = self._next(losses, y)
        inputs = self._inputs(logits, y, losses, average)
        known = self.is_known(losses, y)
        if self.clean is None:
            wanted = curriculum(losses, average, self.slope)
        else:
            wanted = self._clean_of(index)
            known = known & ~wanted.isnan()
        wanted = torch.where(known, wanted, 0).to(torch.float32)
        model = self._network(logits.shape[1], logits.device)

        def loss(network: nn.Module) -> Tensor:
            found: Tensor = network(*inputs)
            if self.clean is None:
                each = (found - wanted).square()
            else:
                each = F.binary_cross_entropy(found, wanted, reduction="none")
            return (each * known).sum() / known.sum().clamp(min=1)

        model.train(loss, inputs)
        self._keep(model.mean_of_ranks(average))
        self._step += 1

    def state_dict(self) -> dict[str, Any]:
        """The ``average``, the ``step``, and the network's state, None before its first step."""
        return {
            "average": self._average.to("cpu", copy=True),
            "seed": self._seed,
            "step": self._step,
            "model": None if self._model is None else self._model.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError, TypeError, ValueError)."""
        self.check_keys(state, "average", "seed", "step", "model")
        self._check_average(state)
        check_saved_integers(state, "seed")
        check_saved_integers(state, "step", least=0)
        model = None
        if state["model"] is not None:
            weights = state["model"]["model"]["label.weight"]
            model = self._made(weights.shape[0], weights.device)
            model.check_state(state["model"])
            model.load_state_dict(state["model"])
        self._model = model
        self._keep(state["average"].clone())
        self._seed, self._step = state["seed"], state["step"]

    def _inputs(
        self, logits: Tensor, y: Tensor, losses: Tensor, average: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network sees; of a row without a loss or a class something finite."""
        sound = torch.where(losses.isfinite(), losses, 0).to(torch.float32)
        label = y.argmax(1) if y.dim() == 2 else y.long().clamp(0, logits.shape[1] - 1)
        done = self.burn_in + self._step
        percent = 0 if self.steps is None else _PERCENTS * done // self.steps
        percents = torch.full_like(label, min(percent, _PERCENTS - 1))
        return sound, sound - average.nan_to_num(0).to(torch.float32), label, percents

    def _clean_of(self, index: Tensor | None) -> Tensor:
        assert self._clean_there is not None
        if index is None:
            raise ValueError("index is missing, and clean goes by it: call selector(x, y, index)")
        if index.is_cpu:
            check_range(index, len(self._clean_there))
        if self._clean_there.device != index.device:
            self._clean_there = self._clean_there.to(index.device)
        known: Tensor = self._clean_there[index]
        return known

    def _network(self, classes: int, device: torch.device) -> SecondModel:
        made = partial(self._made, classes)
        self._model = made(device) if self._model is None else self._model.on(device, made)
        return self._model

    def _made(self, classes: int, device: torch.device) -> SecondModel:
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(self._seed % (1 << 63))
        network = MentorNet(classes, "cpu", torch.float32)
        torch.default_generator.set_state(state)
        network.to(device)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        model = SecondModel(network, torch.optim.Adam(trained, lr=self.rate), self.group)
        model.mark = self._mark
        return model


def curriculum(losses: Tensor, average: Tensor, slope: float) -> Tensor:
    """v of losses [K], for lambda_1 [] and lambda_2; NaN stays."""
    if slope:
        v = (1 - (losses - average) / slope).clamp(0, 1)
    else:
        v = (losses <= average).to(losses.dtype)
    return torch.where(losses.isnan(), losses, v)
