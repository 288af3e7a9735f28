"""accelerate's checkpoints of samplers."""

from collections.abc import Mapping
from typing import Any, final

from impsamp_fast.dataset.sampler import DatasetSampler


def register(accelerator: Any, sampler: DatasetSampler) -> None:
    """Has the checkpoints of an ``Accelerator`` keep a sampler's state, in step with the training.

    ::

        register(accelerator, sampler)
        loader, ... = accelerator.prepare(loader, ...)
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            for x, y, index in loader:
                ...
                sampler.update(index, logits, y, losses=losses)
            sampler.sync()

    The loader of ``prepare`` shares out batches among the processes, so that each of them is to
    draw the whole epoch: this says it to the sampler. It also runs a batch ahead, and a state must
    not have that batch: what is saved is the position up to which ``update`` was told. After
    ``load_state``, of an accelerator that has prepared the loader, the epoch goes on there without
    ``skip_first_batches``.

    A strategy needs none of this: ``accelerator.register_for_checkpointing(strategy)``.

    Args:
        accelerator: an ``Accelerator``.
        sampler: that of a loader that is prepared.
    """
    accelerator.register_for_checkpointing(_Checkpoints(accelerator, sampler.shard(0, 1)))


@final
class _Checkpoints:
    """What an ``Accelerator`` asks for states, on all processes."""

    def __init__(self, accelerator: Any, sampler: DatasetSampler) -> None:
        self._accelerator = accelerator
        self._sampler = sampler

    def state_dict(self) -> dict[str, Any]:
        self._sampler.sync()
        return self._sampler.state_dict(position=self._sampler.trained)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sampler.load_state_dict(state)
        # A loader counts epochs from 0, and names them to its sampler.
        for loader in self._accelerator._dataloaders:
            if _sampler_in(loader.batch_sampler) is self._sampler:
                loader.set_epoch(self._sampler._epochs.next())


def _sampler_in(batches: Any) -> Any:
    """The sampler of lists of indices, whatever shares them out."""
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    return getattr(batches, "sampler", None)
