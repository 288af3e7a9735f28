"""Which parts of a dict batch are the target, the samples' numbers, and the model's."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor

from impsamp_fast._settings import ShowsSettings
from impsamp_fast.batch._nested import tensors_of


@final
class Columns(ShowsSettings):
    """The roles of the keys of a dict batch, where the target is one of its parts.

    ::

        selector = Selector(model, n=128, target=Columns("label", inputs="image"))
        for rows in loader:                       # {"image": ..., "label": ..., "weather": ...}
            batch = selector(rows)
            losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")

    ``batch.x`` is what the model is called with, ``batch.y`` the target, and ``batch.inputs`` the
    mini-batch as a dict with all keys. ``target="labels"`` is short for ``Columns("labels")``.

    Args:
        target: the key of the targets; several give a dict of them, which a score function takes.
            The model is scored without them, so that one that computes a loss of its labels does
            not.
        inputs: what the model is called with: one key as ``model(x)``, several as ``model(**x)``.
            None is all keys but the target and the index whose parts have tensors: strings and
            the like are not passed to the model unless they are named here.
        index: the key of the samples' numbers in the data set, in batches that have it.

    Raises:
        TypeError, ValueError: for an argument that is not as described.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        inputs: str | Sequence[str] | None = None,
        index: str = "index",
    ) -> None:
        if not isinstance(index, str):
            raise TypeError(f"index is {index!r}, expected a key of the batches, a str")
        targets = _keys("target", target)
        names = () if inputs is None else _keys("inputs", inputs)
        for key in names:
            if key in (*targets, index):
                role = "index" if key == index else "target"
                raise ValueError(f"inputs has {key!r}, which is the {role}: the model is not to")
        if index in targets:
            raise ValueError(f"target and index are both {index!r}")
        self.target = target
        self.inputs = inputs
        self.index = index
        self._wanted = (*targets, *names)
        self._others = {*targets, index}

    @classmethod
    def of(cls, target: "str | Columns | None") -> "Columns | None":
        """What a strategy's ``target`` says."""
        if target is None or isinstance(target, Columns):
            return target
        return cls(target)

    def roles(self, batch: Any, y: Any, index: Any) -> tuple[Any, Any, Any]:
        """The x, y and index of a dict batch; x is the batch itself."""
        if not isinstance(batch, Mapping):
            raise TypeError(
                f"the batch is {type(batch).__name__}, expected a dict, since target is "
                f"{self.target!r}"
            )
        if y is not None:
            raise TypeError(
                f"y is given, but target is {self.target!r}, which is a key of the batch: call "
                "with the batch alone"
            )
        for key in self._wanted:
            if key not in batch:
                raise KeyError(f"the batch has no {key!r}, it has {', '.join(map(repr, batch))}")
        target = self.target
        y = batch[target] if isinstance(target, str) else {key: batch[key] for key in target}
        return batch, y, batch.get(self.index) if index is None else index

    def _is_of_model(self, key: str, part: Any) -> bool:
        if key in self._others:
            return False
        return isinstance(part, Tensor) or next(tensors_of(part), None) is not None

    def of_model(self, batch: Mapping[str, Any]) -> Any:
        """What the model is called with."""
        if self.inputs is None:
            return {key: part for key, part in batch.items() if self._is_of_model(key, part)}
        if isinstance(self.inputs, str):
            return batch[self.inputs]
        return {key: batch[key] for key in self.inputs}


def _keys(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """One key or several."""
    keys = (given,) if isinstance(given, str) else given
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys) or not keys:
        raise TypeError(
            f"{name} is {given!r}, expected a key of the batches or several, each a str"
        )
    return tuple(keys)
