"""Hugging Face's Trainer, the package itself."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.utils.data import IterableDataset

from impsamp_fast import (
    ConstantTime,
    InfoBatch,
    OnlineBatchSelection,
    PickCounts,
    Selector,
    WithIndex,
)
from impsamp_fast.integrations.huggingface import ImportanceTrainer, shifts_labels
from impsamp_fast.integrations.sequences import (
    sequence_losses,
    sequence_scores,
    sequence_selector,
)
from tests.integrations.tiny import SIZE, Sentences, language_model

pytestmark = pytest.mark.usefixtures("one_thread")
every_kind = pytest.mark.parametrize("kind", ["sequence", "token", "causal"])
N, K, EPOCHS = 4, 16, 3


def arguments(folder: Path, **options: Any) -> Any:
    defaults = {
        "per_device_train_batch_size": K,
        "num_train_epochs": EPOCHS,
        "learning_rate": 0.01,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    return transformers.TrainingArguments(str(folder), **(defaults | options))


def strategy_for(kind: str, model: Any, **options: Any) -> Selector:
    if kind == "sequence":
        return Selector(model, N, **options)
    return sequence_selector(model, N, shift=kind == "causal", **options)


class Recording(ImportanceTrainer):
    """Keeps the samples and the learning rate of each step that was made."""

    steps: list[Any]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        if model.training and "index" in inputs:
            rate = self.lr_scheduler.get_last_lr()[0]
            self.steps.append((inputs["index"].tolist(), rate))
        return super().compute_loss(model, inputs, *args, **options)


def train(
    folder: Path, kind: str, resume: str | None = None, data: Any = None, **options: Any
) -> tuple[Recording, list[Any]]:
    """A training, or the rest of one; what is not about the arguments is taken out of them."""
    model = language_model(kind)
    sampler, own = options.pop("sampler", None), options.pop("own", {})
    chooser = {"sampler": sampler}
    if sampler is None:
        chooser = {"strategy": strategy_for(kind, model, seed=0, counts=PickCounts(SIZE), **own)}
    trainer = Recording(
        model,
        arguments(folder, **options),
        train_dataset=WithIndex(Sentences(kind)),
        eval_dataset=Sentences(kind),
        **chooser,
    )
    trainer.steps = []
    trainer.train(resume_from_checkpoint=None if resume is None else str(folder / resume))
    return trainer, trainer.steps


def parameters(trainer: Any) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@every_kind
def test_a_strategy_resumes_exactly(tmp_path: Path, kind: str) -> None:
    options = {"save_strategy": "steps", "save_steps": 5, "gradient_accumulation_steps": 2}
    whole, steps = train(tmp_path, kind, **options)
    resumed, rest = train(tmp_path, kind, "checkpoint-5", **options)
    assert whole.state.global_step == EPOCHS * 3
    assert steps[10:] == rest
    assert torch.equal(parameters(whole), parameters(resumed))
    assert torch.equal(whole.strategy.counts.counts, resumed.strategy.counts.counts)
    assert whole.strategy.counts.counts.sum() == EPOCHS * SIZE // K * N


def test_accumulated_steps_are_those_of_larger_batches(tmp_path: Path) -> None:
    options = {"optim": "sgd", "learning_rate": 0.5, "num_train_epochs": 1}
    larger = arguments(tmp_path, **options | {"per_device_train_batch_size": 2 * K})
    accumulated = arguments(tmp_path, **options, gradient_accumulation_steps=2)
    model, own = (without_dropout(language_model("sequence")) for _ in range(2))
    selector = Selector(own, K, method="topk", target="labels")  # all rows, with weight 1
    data = Sentences("sequence")
    trainers = [
        transformers.Trainer(model, larger, train_dataset=data),
        ImportanceTrainer(own, accumulated, train_dataset=data, strategy=selector),
    ]
    before = parameters(trainers[0])
    for trainer in trainers:
        trainer.train()
    expected, found = map(parameters, trainers)
    assert (expected - before).abs().max() > 1e-3
    torch.testing.assert_close(found, expected)


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def test_a_strategy_of_its_own_batch_size_has_a_target(tmp_path: Path) -> None:
    model = language_model("sequence")
    strategy = ConstantTime(model, K, target="labels", seed=0)
    options = arguments(tmp_path, max_steps=1)
    data = Sentences("sequence")
    trainer = ImportanceTrainer(model, options, train_dataset=data, strategy=strategy)
    trainer.train()
    assert trainer.state.global_step == 1


@every_kind
def test_losses_are_those_of_the_model(kind: str) -> None:
    model = language_model(kind).eval()
    shift = shifts_labels(model)
    assert shift == (kind == "causal")
    if kind == "sequence":
        return
    data = Sentences(kind)
    for index in range(6):
        row = {key: value.unsqueeze(0) for key, value in data[index].items()}
        with torch.no_grad():
            output = model(**row)
        losses = sequence_losses(output.logits, row["labels"], shift=shift)
        torch.testing.assert_close(losses[0], output.loss)
        scores = sequence_scores(output.logits, row["labels"], "loss", shift=shift)
        torch.testing.assert_close(scores, losses)
    assert sequence_losses(output.logits, torch.full_like(row["labels"], -100)).tolist() == [0]


@pytest.mark.parametrize(("workers", "accumulated", "stops"), [(0, 2, (4, 12, 16)), (2, 1, (16,))])
def test_a_sampler_resumes_exactly(
    tmp_path: Path, workers: int, accumulated: int, stops: tuple[int, ...]
) -> None:
    options = {
        "save_strategy": "steps",
        "save_steps": 4 // accumulated,
        "dataloader_num_workers": workers,
        "gradient_accumulation_steps": accumulated,
        "per_device_train_batch_size": 8,
    }
    whole, steps = train(tmp_path, "sequence", sampler=InfoBatch(SIZE, 9, seed=0), **options)
    for made in stops:  # of 12 batches in the first epoch
        sampler = InfoBatch(SIZE, 9, seed=0)
        checkpoint = f"checkpoint-{made // accumulated}"
        resumed, rest = train(tmp_path, "sequence", checkpoint, sampler=sampler, **options)
        assert steps[made:] == rest
        assert torch.equal(parameters(whole), parameters(resumed))
        assert torch.equal(whole.sampler.memory.loss, sampler.memory.loss)


def test_a_sampler_goes_on_where_the_trainer_skips_nothing(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 4, "per_device_train_batch_size": 8}
    options |= {"ignore_data_skip": True, "num_train_epochs": 1}
    _, steps = train(tmp_path, "sequence", sampler=InfoBatch(SIZE, 9, seed=0), **options)
    sampler = InfoBatch(SIZE, 9, seed=0)
    _, rest = train(tmp_path, "sequence", "checkpoint-4", sampler=sampler, **options)
    assert rest == steps[4:]


def test_epochs_that_end_early_end_the_schedule(tmp_path: Path) -> None:
    options = {
        "per_device_train_batch_size": 8,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "logging_strategy": "steps",
        "logging_steps": 4,
    }
    sampler = InfoBatch(SIZE, EPOCHS, full_after=1, seed=0)
    trainer, steps = train(tmp_path, "sequence", sampler=sampler, **options)
    planned = EPOCHS * SIZE // 8
    assert len(steps) < planned
    assert trainer.state.global_step == trainer.state.max_steps == planned
    assert trainer.state.epoch == EPOCHS
    assert trainer.lr_scheduler.get_last_lr()[0] == 0
    rates = [rate for _, rate in steps]
    assert rates == sorted(rates, reverse=True)
    logs = trainer.state.log_history
    evaluated = [log["step"] for log in logs if "eval_loss" in log]
    assert evaluated[-1] == planned
    assert max(later - earlier for earlier, later in pairwise(evaluated)) <= 8
    assert all(0.05 < log["loss"] < 1.2 for log in logs if "loss" in log)
    assert 0.05 < logs[-1]["train_loss"] < 1.2


@pytest.mark.parametrize("kind", ["reduce_lr_on_plateau", "greedy"])
def test_schedulers_by_a_metric_step_with_evaluations(tmp_path: Path, kind: str) -> None:
    options = {
        "per_device_train_batch_size": 8,
        "eval_strategy": "epoch",
        "lr_scheduler_type": kind,
        "metric_for_best_model": "loss",
    }
    sampler = InfoBatch(SIZE, EPOCHS, full_after=1, seed=0)
    trainer, steps = train(tmp_path, "sequence", sampler=sampler, **options)
    assert len(steps) < trainer.state.global_step == EPOCHS * SIZE // 8
    assert trainer.lr_scheduler.last_epoch == EPOCHS


def test_a_sampler_is_about_the_data_set(tmp_path: Path) -> None:
    model = language_model("sequence")
    data = WithIndex(Sentences("sequence"))
    args = arguments(tmp_path)
    sampler = InfoBatch(SIZE, EPOCHS)
    for wrong, message in [
        ({}, "one of them"),
        ({"sampler": sampler, "strategy": Selector(model, N)}, "one of them"),
        ({"sampler": InfoBatch(5, 1)}, "about 5 samples, train_dataset has 96"),
        ({"sampler": sampler, "compute_loss_func": print}, "give row_losses"),
    ]:
        with pytest.raises(ValueError, match=message):
            ImportanceTrainer(model, args, train_dataset=data, **wrong)


def test_a_batch_that_does_not_fit_is_told(tmp_path: Path) -> None:
    def run(kind: str, message: str, data: Any = None, **options: Any) -> None:
        model = language_model(kind)
        data = Sentences(kind) if data is None else data
        made = {key: make(model) for key, make in options.items()}
        trainer = ImportanceTrainer(model, arguments(tmp_path), train_dataset=data, **made)
        with pytest.raises(ValueError, match=message):
            trainer.train()

    run("sequence", 'no "index"', sampler=lambda _: InfoBatch(SIZE, 1))
    run("sequence", "n is 17", strategy=lambda model: Selector(model, 17))
    run("causal", "logits of shape", strategy=lambda model: Selector(model, 4))
    pool = {"batches_per_pool": 2, "method": "pps"}
    run("sequence", "one mini-batch", strategy=lambda model: Selector(model, 4, **pool))
    floats = [{**Sentences("sequence")[i], "labels": torch.tensor(0.5)} for i in range(SIZE)]
    run(
        "sequence",
        "give row_losses",
        data=WithIndex(floats),
        sampler=lambda _: OnlineBatchSelection(SIZE, 2),
    )


def test_a_stream_needs_no_numbers(tmp_path: Path) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            data = Sentences("sequence")
            return (data[index] for index in range(SIZE))

    model = language_model("sequence")
    selector = Selector(model, N, target="labels", seed=0)
    args = arguments(tmp_path, max_steps=8)
    trainer = ImportanceTrainer(model, args, train_dataset=Stream(), strategy=selector)
    trainer.train()
    assert trainer.state.global_step == 8 > SIZE // K
    assert selector.state_dict()["step"] == 8


def test_row_losses_of_ones_own(tmp_path: Path) -> None:
    def squares(output: Any, labels: Tensor) -> Tensor:
        return (output.logits[:, 0] - labels).square()

    model = language_model("sequence")
    sampler = InfoBatch(SIZE, 2, seed=0)
    trainer = ImportanceTrainer(
        model,
        arguments(tmp_path, num_train_epochs=1),
        train_dataset=WithIndex(Sentences("sequence")),
        sampler=sampler,
        row_losses=squares,
    )
    trainer.train()
    assert sampler.memory.seen.tolist() == [1] * SIZE
    assert (sampler.memory.loss < 3).all()
