"""A model that belongs to a strategy, beside the one that is trained."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from impsamp_fast.batch._without_trace import RandomStates, without_trace

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

    Attributes:
        mark: is told of the stages; by default it tells nobody.

    Raises:
        TypeError: if they are not a module and an optimiser.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"the second model is {type(model).__name__}, expected an nn.Module")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is {optimizer!r}, expected an optimiser or None")
        self.model = model
        self.optimizer = optimizer
        self.mark: Mark = unmarked

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
        with torch.enable_grad():
            self.optimizer.zero_grad()
            loss(self.model).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        states.put_back()
        self.mark("second_model")

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
        if self.optimizer is not None:
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))


def _shapes(shapes: Mapping[str, torch.Size]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
