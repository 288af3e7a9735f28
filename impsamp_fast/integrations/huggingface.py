"""Hugging Face's ``Trainer`` with importance sampling."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    optimization,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from impsamp_fast.batch._logits import call_model, logits_of
from impsamp_fast.batch.minibatch import MiniBatch
from impsamp_fast.batch.strategy import BatchStrategy
from impsamp_fast.dataset.sampler import DatasetSampler
from impsamp_fast.integrations.sequences import sequence_losses

_INDEX = "index"  # what WithIndex calls the samples' numbers

# The schedulers that step with evaluations; older transformers have but the first.
_BY_METRIC = (ReduceLROnPlateau, getattr(optimization, "GreedyLR", ()))

# From a model's output and the labels [n, ...] to the losses [n].
_RowLosses = Callable[[Any, Tensor], Tensor]


class ImportanceTrainer(Trainer):
    """A ``Trainer`` that trains on what a strategy or a sampler chooses.

    ::

        trainer = ImportanceTrainer(model, args, train_dataset=data, strategy=Selector(model, n=8))
        trainer = ImportanceTrainer(model, args, train_dataset=WithIndex(data), sampler=sampler)

    In front of another trainer it is a mixin: ``class Mine(ImportanceTrainer, Seq2SeqTrainer)``.

    With a strategy, which may have a ``target=``, ``per_device_train_batch_size`` is K, the rows
    that are scored. The loss that is trained is the mean of the rows' losses, so that a sequence of
    few tokens counts for as much as one of many. Evaluation is the Trainer's own.

    With a sampler, the Trainer counts steps as if all epochs had as many as the first: where an
    epoch has fewer, ``global_step`` and the scheduler of the learning rate go forward at its end to
    where the next one begins. So the schedule ends with the training, a checkpoint is of the epoch
    that it says, and what falls due in between is done then. A scheduler that goes by a metric
    steps with evaluations alone. With gradient accumulation, micro-batches at the end of such an
    epoch that are too few for a step are left out.

    Checkpoints have the states of both; training that resumes goes on as if it had never stopped.

    Args:
        args: those of the ``Trainer``; ``model`` and ``args`` may be given by position.
        strategy: chooses rows of each batch of the loader, and makes one mini-batch of it.
        sampler: chooses the samples of each epoch; the data set is a
            :class:`~impsamp_fast.WithIndex`.
        row_losses: from the model's output and the labels to the losses [n]. None is the
            cross-entropy of class indices [n], or for [n, T] its mean over each sequence's tokens,
            shifted for the causal language models that transformers knows.
        kwargs: those of the ``Trainer``.

    Raises:
        ValueError: unless there is either a strategy or a sampler, of a data set of this size; and
            for a ``compute_loss_func``, which knows no rows.
    """

    _signature_columns: Any
    lr_scheduler: Any

    def __init__(
        self,
        *args: Any,
        strategy: BatchStrategy | None = None,
        sampler: DatasetSampler | None = None,
        row_losses: _RowLosses | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if (strategy is None) == (sampler is None):
            raise ValueError(
                "give a strategy, which chooses rows of batches, or a sampler, which chooses the "
                "samples of epochs: one of them"
            )
        if self.compute_loss_func is not None:
            raise ValueError(
                "compute_loss_func returns the loss of a batch, and weights are for rows: give "
                "row_losses, a function of the model's output and the labels that returns [n]"
            )
        self.strategy = strategy
        self.sampler = sampler
        self.row_losses = row_losses
        self._steps_per_epoch = 0
        if sampler is not None:
            data: Any = self.train_dataset
            size = len(data)
            if sampler.size != size:
                raise ValueError(
                    f"the sampler is about {sampler.size} samples, train_dataset has {size}"
                )
            sampler.shard(0, 1)  # accelerate shares out the batches
            self.add_callback(_EndsOfEpochs(self))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The Trainer's, which leaves the samples' numbers in the batches."""
        self._set_signature_columns_if_needed()
        columns = self._signature_columns
        self._signature_columns = [*columns, _INDEX]
        try:
            loader: DataLoader[Any] = super().get_train_dataloader()
        finally:
            self._signature_columns = columns
        if self.sampler is not None:  # as the Trainer counts them
            self._steps_per_epoch = -(-len(loader) // self.args.gradient_accumulation_steps)
        return loader

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any] | None:
        if self.sampler is not None:
            return self.sampler
        sampler: Sampler[Any] | None = super()._get_train_sampler(train_dataset)
        return sampler

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of a step; none where an epoch ends before there are enough."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        # Of a part of a step the Trainer would keep the gradients for the next epoch.
        if self.sampler is not None and len(batches) < num_batches:
            return [], None
        return batches, items

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """A step on what is chosen: the loader's number of tokens does not count."""
        loss: Tensor = super().training_step(model, inputs, None)
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """In training the weighted mean of the chosen rows' losses, else the Trainer's loss."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        index = inputs.pop(_INDEX, None)
        if self.strategy is not None:
            batch = self._mini_batch(self.strategy, inputs, index)
            outputs = call_model(model, batch.x)
            loss = batch.mean(self._losses(outputs, batch.y))
        else:
            labels = inputs.pop(self._label_name(inputs))
            outputs = model(**inputs)
            losses = self._losses(outputs, labels)
            loss = self._taught(index, logits_of(outputs), labels, losses)
        return (loss, outputs) if return_outputs else loss

    def _label_name(self, inputs: dict[str, Any]) -> str:
        name, *further = self.label_names
        if further or name not in inputs:
            raise ValueError(
                f"the batch has {sorted(inputs)} and the labels are {self.label_names}: it must "
                "have a single one of that name"
            )
        return str(name)

    def _mini_batch(
        self, strategy: BatchStrategy, inputs: dict[str, Any], index: Tensor | None
    ) -> MiniBatch:
        """The mini-batch, whose x is what the model is called with."""
        target: Any = getattr(strategy, "target", None)
        if target is not None:
            batch = strategy(inputs, index=index)
        else:
            label = self._label_name(inputs)
            batch = strategy(inputs, inputs[label], index)
            if batch is not None:
                batch.x = {key: part for key, part in batch.x.items() if key != label}
        waiting: Any = getattr(strategy, "waiting", 0)
        if batch is None or waiting:
            raise ValueError(
                f"the Trainer makes one step of each batch, and {type(strategy).__name__} did not "
                "make one mini-batch of it: use a Selector without batches_per_pool or "
                "whole_uniform, and dataloader_drop_last=True or "
                'small_batch="all" for a small last batch'
            )
        return batch

    def _losses(self, outputs: Any, labels: Tensor) -> Tensor:
        if self.row_losses is not None:
            return self.row_losses(outputs, labels)
        logits = logits_of(outputs)
        smoothing = self.args.label_smoothing_factor
        if labels.is_floating_point() or logits.dim() != labels.dim() + 1:
            raise ValueError(
                f"the labels are {labels.dtype} of shape {list(labels.shape)}, the logits of shape "
                f"{list(logits.shape)}: give row_losses for what is no classification"
            )
        if labels.dim() == 1:
            return F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        shift = shifts_labels(self.model)
        return sequence_losses(logits, labels, shift=shift, label_smoothing=smoothing)

    def _taught(
        self, index: Tensor | None, logits: Tensor, labels: Tensor, losses: Tensor
    ) -> Tensor:
        """The weighted mean of the losses, from which the sampler learns."""
        assert self.sampler is not None
        if index is None:
            raise ValueError(
                'the batch has no "index", by which the sampler learns: train_dataset=WithIndex('
                "data), whose samples are dicts, and a data_collator that keeps it"
            )
        loss = self.sampler.mean(losses, index)
        rows = (logits, labels) if logits.dim() == 2 else ()
        self.sampler.update(index, *rows, losses=losses)
        return loss

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        os.makedirs(output_dir, exist_ok=True)  # which another process makes
        if self.strategy is not None:
            torch.save(self.strategy.state_dict(), self._state_file(output_dir))
        if self.sampler is not None:
            self.sampler.sync()
            if self.args.should_save:
                torch.save(self._sampler_state(self.sampler), self._state_file(output_dir, 0))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        chooser = self.sampler if self.strategy is None else self.strategy
        if checkpoint is None or chooser is None:
            return
        own, first = self._state_file(checkpoint), self._state_file(checkpoint, 0)
        chooser.load_state_dict(torch.load(own if own.exists() else first, weights_only=True))

    def _state_file(self, folder: str, rank: int | None = None) -> Path:
        """Each rank's start rule has learned from its own rows; a sampler is the same on all."""
        return Path(folder, f"impsamp_fast_{self.args.process_index if rank is None else rank}.pt")

    def _sampler_state(self, sampler: DatasetSampler) -> dict[str, Any]:
        if self.state.global_step % self._steps_per_epoch == 0:
            return sampler.state_dict()
        # Unless told not to, the Trainer itself skips what was trained on.
        return sampler.state_dict(position=sampler.trained if self.args.ignore_data_skip else 0)

    def _go_forward(self, state: TrainerState, control: TrainerControl) -> None:
        """Goes to the step in which the next epoch begins."""
        step, per_epoch = state.global_step, self._steps_per_epoch
        end = min(-(-step // per_epoch) * per_epoch, state.max_steps)
        missing = end - step
        if missing == 0 or control.should_training_stop:
            return
        if not isinstance(self.lr_scheduler, _BY_METRIC):
            for _ in range(missing):
                self.lr_scheduler.step()
        state.global_step, state.epoch = end, end / per_epoch
        # What was logged is the mean over steps that were made.
        self._globalstep_last_logged += missing
        self._initial_global_step += missing
        for due, strategy, interval in (
            ("should_log", self.args.logging_strategy, state.logging_steps),
            ("should_evaluate", self.args.eval_strategy, state.eval_steps),
            ("should_save", self.args.save_strategy, state.save_steps),
        ):
            if strategy == "steps" and interval and end // interval > step // interval:
                setattr(control, due, True)


class _EndsOfEpochs(TrainerCallback):
    """Shares what the ranks have learned, and goes on to where the next epoch begins."""

    def __init__(self, trainer: ImportanceTrainer) -> None:
        self._trainer = trainer

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        assert self._trainer.sampler is not None
        self._trainer.sampler.sync()
        self._trainer._go_forward(state, control)


def shifts_labels(model: Any) -> bool:
    """Whether it is a causal language model: a token's logits are about the label of the next."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # of an adapter
    return type(base).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
