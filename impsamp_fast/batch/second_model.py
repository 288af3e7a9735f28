"""A model that belongs to a strategy, beside the one that is trained."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast.batch._without_trace import RandomStates, without_trace
from impsamp_fast.distributed._ranks import Ranks

# What a part calls to say which stage of a step has just ended.
Mark = Callable[[str], None]


def unmarked(stage: str) -> None:
    """Tells nobody."""


@final
class SecondModel:
    """A strategy's own model: called without a trace, trained by its own optimiser, and saved.

    Neither changes torch's random states. What both take is the stage "second_model" of a step, in
    a :class:`~impsamp_fast.StepTime` and in a report.

    Args:
        model: on the device of the rows.
        optimizer: of its parameters; None for a model that is not trained.
        group: a process group whose ranks have one model: it is trained with the mean of their
            gradients, has the mean of their floating-point buffers, and begins as rank 0's. They
            train it in the same steps. None is a model of this rank's own.

    Attributes:
        mark: is told of the stages; by default it tells nobody.

    Raises:
        TypeError: if they are not a module and an optimiser.
        RuntimeError, ValueError: for a group where there is none, or of other processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        group: Any = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"the second model is {type(model).__name__}, expected an nn.Module")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is {optimizer!r}, expected an optimiser or None")
        self.model = model
        self.optimizer = optimizer
        self.mark: Mark = unmarked
        self._ranks = None if group is None else Ranks(group)
        self._is_shared = False  # whether all ranks are known to have the same weights

    def __call__(self, run: Callable[[nn.Module], Tensor], rows: Any) -> Tensor:
        """What ``run`` makes of the model, in evaluation mode and without gradients.

        Args:
            run: calls the model with the rows.
            rows: nested tensors.
        """
        self.mark("selection")
        found = without_trace([self.model], rows, False, run, self.model)
        self.mark("second_model")
        return found

    def train(self, loss: Callable[[nn.Module], Tensor], rows: Any) -> None:
        """A training step, in the mode that the model is in.

        Args:
            loss: calls the model with the rows and returns a scalar.
            rows: nested tensors.
        """
        assert self.optimizer is not None
        self.mark("selection")
        states = RandomStates({parameter.device for parameter in self.model.parameters()})
        if self._ranks is not None and not self._is_shared:
            for value in self.model.state_dict().values():
                value.copy_(self._ranks.gather(value)[0])
            self._is_shared = True
        with torch.enable_grad():
            self.optimizer.zero_grad()
            loss(self.model).backward()  # type: ignore[no-untyped-call]
        if self._ranks is not None:
            self._share_means()
        self.optimizer.step()
        states.put_back()
        self.mark("second_model")

    def mean_of_ranks(self, value: Tensor) -> Tensor:
        """The mean of what the ranks of the group have, floating point; without one the value."""
        return value if self._ranks is None else self._ranks.gather(value).mean(0)

    def _share_means(self) -> None:
        """Those of the gradients, and of buffers such as the statistics of a batch norm."""
        shared = [p.grad for p in self.model.parameters() if p.grad is not None]
        shared += [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        mean = self.mean_of_ranks(torch.cat([tensor.flatten() for tensor in shared]))
        parts = torch.split(mean, [tensor.numel() for tensor in shared])
        for tensor, part in zip(shared, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def on(
        self, device: torch.device, make: Callable[[torch.device], "SecondModel"]
    ) -> "SecondModel":
        """Itself if it is on the device, else what ``make`` makes there, in the same state."""
        if next(self.model.parameters()).device == device:
            return self
        there = make(device)
        there.load_state_dict(self.state_dict())
        return there

    def state_dict(self) -> dict[str, Any]:
        """The states of ``model`` and ``optimizer``, as copies."""
        model = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        optimizer = None if self.optimizer is None else self.optimizer.state_dict()
        return {"model": model, "optimizer": copy.deepcopy(optimizer)}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Whether a state fits (KeyError, ValueError)."""
        if set(state) != {"model", "optimizer"}:
            raise KeyError(f"the state has the keys {sorted(state)}, expected model and optimizer")
        own = {name: value.shape for name, value in self.model.state_dict().items()}
        found = {name: value.shape for name, value in state["model"].items()}
        if own != found:
            raise ValueError(
                f"the second model's state has {_shapes(found)}, expected {_shapes(own)}"
            )
        if (state["optimizer"] is None) != (self.optimizer is None):
            raise ValueError(
                "the state is of a second model that is trained and this one is not, or the reverse"
            )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that was checked."""
        self.model.load_state_dict(state["model"])
        self._is_shared = False
        if self.optimizer is not None:
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))


def _shapes(shapes: Mapping[str, torch.Size]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
