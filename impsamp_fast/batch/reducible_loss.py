"""RHO-loss: what of a row's loss training can still reduce."""

from collections.abc import Iterable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast._checks import check_index, check_integer, check_saved_integers, kind_of
from impsamp_fast._seeds import rank_here, seed_of_rank, seed_of_run, seed_of_step
from impsamp_fast._uniform import uniform_rows
from impsamp_fast.batch._arguments import check_batch, unpack
from impsamp_fast.batch._logits import call_model, logits_of
from impsamp_fast.batch._nested import gather
from impsamp_fast.batch._trained_loss import TrainedLoss
from impsamp_fast.batch.columns import Columns
from impsamp_fast.batch.learned_score import LearnedScore
from impsamp_fast.batch.scoring_pass import Scorer, ScoringPass
from impsamp_fast.batch.second_model import SecondModel
from impsamp_fast.ops import score


@final
class ReducibleLoss(LearnedScore):
    r"""Scores a row by its loss less its irreducible loss, that of a model which knows other data.

    Mindermann et al. (2022): :math:`L(y | x) - L_{ho}(y | x)`, with :math:`L_{ho}` the loss of a
    small model that was trained on held-out data. A wrong label, which nothing can predict, has
    both high; a row that is learned has L low. It may be negative, so that the Selector's method is
    "topk".

    The irreducible losses come by sample number, computed once as by
    :func:`~impsamp_fast.irreducible_losses`, or from a model that is called with the rows. With an
    optimiser that model is trained in the same loop: after each large batch on ``n`` rows that are
    drawn uniformly from ``holdout``; this schedule is ours, the paper trains it before.

    4 bytes per sample for losses by number; else none.

    Args:
        irreducible: [N], floating point, by sample number, for which calls need ``index``; or a
            model, called as a Selector calls its own.
        optimizer: of that model's parameters; None leaves it as it is.
        holdout: x and y, with which the optimiser trains it, on the device of the rows.
        n: rows of such a step.
        seed: of the draws from ``holdout``.
        group: a process group whose ranks train one model, each on rows of its own ``holdout``;
            they score in the same steps. None is a model of this rank's own: with the same model,
            ``holdout`` and seed on all ranks, and in the same steps, these are alike as well.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        irreducible: Tensor | nn.Module,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        holdout: tuple[Any, Tensor] | None = None,
        n: int = 128,
        seed: int | None = None,
        group: Any = None,
    ) -> None:
        if not isinstance(irreducible, Tensor | nn.Module):
            raise TypeError(f"irreducible is {kind_of(irreducible)}, expected losses or a model")
        if isinstance(irreducible, Tensor):
            if irreducible.dim() != 1 or not irreducible.is_floating_point():
                raise TypeError(
                    f"irreducible is {kind_of(irreducible)} of shape {list(irreducible.shape)}, "
                    "expected losses [N], floating point"
                )
            if optimizer is not None:
                raise ValueError("optimizer is given, but irreducible is no model to train")
        if (optimizer is None) != (holdout is None):
            raise ValueError("optimizer and holdout belong together: one of them is missing")
        if holdout is not None:
            check_batch(*holdout, None)
        self.irreducible = irreducible
        self.optimizer = optimizer
        self.holdout = holdout
        self.n = check_integer("n", n, 1)
        self.seed = seed
        self.group = group
        self._seed = seed_of_run(seed) if optimizer is not None else 0
        self._step = 0
        self._table = irreducible if isinstance(irreducible, Tensor) else None
        if isinstance(irreducible, nn.Module):
            self._model = SecondModel(irreducible, optimizer, group)

    def __call__(  # type: ignore[override]
        self, logits: Tensor, y: Tensor, x: Any, index: Tensor | None = None
    ) -> Tensor:
        """The reducible losses, [K]."""
        losses = self.losses(logits, y)
        if self._model is not None:
            there = self._model(lambda model: logits_of(call_model(model, x)), (x, y))
            return losses - self.losses(there, y)
        assert self._table is not None
        if index is None:
            raise ValueError(
                "index is missing, and irreducible losses go by it: call selector(x, y, index)"
            )
        if index.is_cpu:
            check_index(index, len(self._table))
        if self._table.device != index.device:
            self._table = self._table.to(index.device)
        return losses - self._table[index].to(losses.dtype)

    def learn(  # type: ignore[override]
        self, logits: Tensor, y: Tensor, x: Any, index: Tensor | None = None
    ) -> None:
        """Trains the model on held-out rows, if it has an optimiser."""
        if self._model is None or self.holdout is None:
            return
        x, y = self.holdout
        n = min(self.n, y.shape[0])
        seed = self._seed if self.group is None else seed_of_rank(self._seed, rank_here())
        row = uniform_rows(y.shape[0], n, seed_of_step(seed, self._step), y.device)
        rows = gather(x, row), gather(y, row)

        def loss(model: nn.Module) -> Tensor:
            return self._loss.losses(logits_of(call_model(model, rows[0])), rows[1]).mean()

        self._model.train(loss, rows)
        self._step += 1

    def state_dict(self) -> dict[str, Any]:
        """The state of a model that is trained, with the seed and the step; else nothing."""
        if self._model is None or self.optimizer is None:
            return {}
        return {"seed": self._seed, "step": self._step, "model": self._model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that ``state_dict`` returned (KeyError, TypeError, ValueError)."""
        if self._model is None or self.optimizer is None:
            self.check_keys(state)
            return
        self.check_keys(state, "seed", "step", "model")
        check_saved_integers(state, "seed")
        check_saved_integers(state, "step", least=0)
        self._model.check_state(state["model"])
        self._model.load_state_dict(state["model"])
        self._seed, self._step = state["seed"], state["step"]


def irreducible_losses(
    model: nn.Module,
    loader: Iterable[Any],
    size: int,
    *,
    scoring: ScoringPass | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    target: str | Columns | None = None,
) -> Tensor:
    """Each sample's loss under a model that was trained on other data.

    For :class:`~impsamp_fast.ReducibleLoss`. The model is called without leaving a trace, as a
    Selector calls its own. Without data to hold out, train two models on a half of the data each,
    and let each say the losses of the other half: two calls, each with a loader of that half, whose
    results ``torch.where(a.isnan(), b, a)`` puts together.

    Args:
        model: called as by a Selector.
        loader: yields (x, y, index), or with ``target`` dicts that have all of them.
        size: N, the number of samples in the data set.
        scoring: how the model is called.
        label_smoothing: as in the loss that is trained.
        class_weight: likewise.
        target: as in a Selector.

    Returns:
        [N] float32 on the CPU; NaN for samples that the loader did not yield.

    Raises:
        TypeError, ValueError, IndexError: for rows that cannot be scored, and numbers of no sample.
    """
    size = check_integer("size", size, 1)
    loss = TrainedLoss(label_smoothing, class_weight, None)
    losses = torch.full((size,), torch.nan, dtype=torch.float32, device="cpu")
    columns = Columns.of(target)
    for item in loader:
        x, y, index = unpack(item)
        if columns is not None:
            x, y, index = columns.roles(x, y, index)
        if index is None:
            raise ValueError("index is missing, and the losses go by the samples' numbers")
        check_batch(x, y, index)
        if columns is not None:
            x = columns.of_model(x)
        logits, _ = Scorer(scoring, y.shape[0], False)(model, x, y)
        found = score(logits, y, "loss", **loss.options(y.device))
        losses[check_index(index, size)] = found.to("cpu", torch.float32)
    return losses
