"""Lightning's ``Trainer`` with importance sampling."""

import math
from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.sampler import DatasetSampler


@final
class ImportanceSampling(Callback):
    """Keeps the state of a strategy or a sampler in checkpoints, and a sampler in step.

    The ``training_step`` calls them as a loop of one's own does::

        def training_step(self, batch, batch_idx):
            x, y, index = batch
            logits = self.model(x)
            losses = F.cross_entropy(logits, y, reduction="none")
            self.sampler.update(index, logits, y, losses=losses)
            return self.sampler.mean(losses, index)

        trainer = Trainer(
            callbacks=[ImportanceSampling(sampler)],
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
        )

    Training that resumes goes on with the same samples, also in the middle of an epoch.

    A sampler is synchronised at the end of each epoch and before a checkpoint. Lightning would hand
    out the shares of ranks a second time, and goes by the length of the first epoch, unless told
    not to by the two arguments above. Schedulers that go by the step are taken forward at the end
    of an epoch that has fewer steps than the first one, so that they end with the training.

    Args:
        chooser: the strategy or the sampler.
        name: what its state is called in checkpoints, by default its class. Two of the same class
            need names.

    Raises:
        TypeError: if it is neither.
        ValueError: in training, if another callback has this name.
        RuntimeError: in training, if the loader has another sampler, such as the one that Lightning
            puts around it, or if Lightning counts on another number of batches.
    """

    def __init__(self, chooser: BatchStrategy | DatasetSampler, name: str | None = None) -> None:
        if not isinstance(chooser, BatchStrategy | DatasetSampler):
            raise TypeError(f"chooser is {chooser!r}, expected a strategy or a sampler")
        self.chooser = chooser
        self.name = type(chooser).__name__ if name is None else name
        self._batches_per_epoch: int | None = None

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints."""
        return f"impsamp_fast.{self.name}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Looks whether the key is its own, which Lightning does for ``state_dict`` alone."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if [callback.state_key for callback in callbacks].count(self.state_key) > 1:
            raise ValueError(
                f"two callbacks would save their state as {self.state_key!r}: give each its own "
                "name, ImportanceSampling(chooser, name=...)"
            )

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state."""
        if isinstance(self.chooser, DatasetSampler):
            self.chooser.sync()
            state = self.chooser.state_dict(position=self.chooser.trained)
        else:
            state = self.chooser.state_dict()
        checkpoint[self.state_key] = {
            "state": state,
            "batches_per_epoch": self._batches_per_epoch,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Continues from it."""
        saved: Mapping[str, Any] = checkpoint[self.state_key]
        self.chooser.load_state_dict(saved["state"])
        self._batches_per_epoch = saved["batches_per_epoch"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks whose samples the loader hands out, and how many."""
        if not isinstance(self.chooser, DatasetSampler):
            return
        loader = _loader_of(self.chooser, trainer.train_dataloader)
        planned = trainer.num_training_batches
        if trainer.limit_train_batches == 1.0 and planned != len(loader):
            raise RuntimeError(
                f"this epoch of {type(self.chooser).__name__} has {len(loader)} batches, and "
                f"Lightning counts on {planned}, after which it would validate: make the Trainer "
                "with reload_dataloaders_every_n_epochs=1"
            )
        if self._batches_per_epoch is None:
            self._batches_per_epoch = int(planned)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shares what the ranks have learned, and takes schedulers to where the next epoch is."""
        if not isinstance(self.chooser, DatasetSampler):
            return
        self.chooser.sync()
        # Lightning counts the next epoch's batches before it names that epoch to the sampler, and
        # has left the last indices of this one where they were too few for a batch.
        self.chooser.set_epoch(trainer.current_epoch + 1)
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if not progress.is_last_batch or self._batches_per_epoch is None:
            return
        planned, made = self._batches_per_epoch, progress.current.ready
        accumulated = trainer.accumulate_grad_batches
        for config in trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            if config.interval == "step" and not config.reduce_on_plateau:
                due = _schedule_steps(planned, accumulated, config.frequency)
                for _ in range(due - _schedule_steps(made, accumulated, config.frequency)):
                    scheduler.step()


def _schedule_steps(batches: int, accumulated: int, frequency: int) -> int:
    """A scheduler's steps in an epoch of so many batches, by Lightning's rule."""
    # After batches that end an accumulation and whose number is a multiple of the frequency; the
    # last batch ends one early.
    last = batches % accumulated != 0 and batches % frequency == 0
    return batches // math.lcm(accumulated, frequency) + last


def _loader_of(sampler: DatasetSampler, loaders: Any) -> DataLoader[Any]:
    """The loader that hands out the samples of a sampler."""
    if isinstance(loaders, DataLoader):
        loaders = [loaders]
    for loader in loaders.values() if isinstance(loaders, Mapping) else loaders:
        found = getattr(loader.batch_sampler, "sampler", loader.sampler)
        if found is sampler:
            return loader  # type: ignore[no-any-return]
    raise RuntimeError(
        f"the loader's sampler is a {type(found).__name__} and not this "
        f"{type(sampler).__name__}, which shares out the indices among ranks by itself: make the "
        "Trainer with use_distributed_sampler=False, and the loader with sampler= or batch_sampler="
    )
