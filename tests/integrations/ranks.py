"""Trainings by two processes, which torchrun starts: ``-m tests.integrations.ranks FOLDER``.

What they find is the samples of each step of each epoch. A sample's loss is its own, whatever the
model, so that one process has the same epochs.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from impsamp_fast import InfoBatch, LossRatio, Selector, WithIndex

SIZE, N, EPOCHS, SAVED = 96, 8, 4, 3
Epochs = list[list[list[int]]]


def make_sampler() -> InfoBatch:
    """One whose epochs are shorter and shorter, but for the last."""
    return InfoBatch(SIZE, EPOCHS, full_after=0.75, seed=0)


class Numbered(Dataset[dict[str, Tensor]]):
    """Samples that have a loss of their own, or one of so many classes."""

    def __init__(self, classes: int | None = None) -> None:
        self.classes = classes

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x = torch.randn(5, generator=torch.Generator().manual_seed(index))
        if self.classes is not None:
            return {"x": x, "labels": (x[0] > 0).long()}
        return {"x": x, "labels": loss_of(torch.tensor(index))}


def loss_of(index: Tensor) -> Tensor:
    return (index * 7 % SIZE + 1).float() / SIZE


def model(outputs: int = 1) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, outputs)


def losses_of(output: Tensor, labels: Tensor) -> Tensor:
    """The samples' own, with a gradient."""
    return labels + 0 * output.squeeze(1)


def loader_of(sampler: InfoBatch, batches: bool = False) -> DataLoader[Any]:
    data: Any = WithIndex(Numbered())
    workers: Any = {"num_workers": 2, "persistent_workers": True}
    if batches:
        return DataLoader(data, batch_sampler=sampler.batches(N), **workers)
    return DataLoader(data, batch_size=N, drop_last=True, sampler=sampler, **workers)


def by_one_process(n: int) -> Epochs:
    """The epochs of a single process with mini-batches of n."""
    sampler, epochs = make_sampler(), []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        epochs.append([])
        for batch in sampler.batches(n):
            index = torch.tensor(batch)
            sampler.update(index, losses=loss_of(index))
            epochs[-1].append(batch)
    return epochs


def with_accelerate(folder: Path, stop: bool, resume: bool, batches: bool) -> Epochs:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from impsamp_fast.integrations.accelerate import register

    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=True)
    sampler = make_sampler()
    register(accelerator, sampler)
    loader, net = accelerator.prepare(loader_of(sampler, batches), model())
    epochs: Epochs = [[] for _ in range(EPOCHS)]
    if resume:
        accelerator.load_state(str(folder))
    for epoch in range(1 if resume else 0, EPOCHS):
        sampler.set_epoch(epoch)
        for step, batch in enumerate(loader):
            losses = losses_of(net(batch["x"]), batch["labels"])
            accelerator.backward(sampler.mean(losses, batch["index"]))
            sampler.update(batch["index"], losses=losses)
            epochs[epoch].append(batch["index"].tolist())
            if stop and epoch == 1 and step + 1 == SAVED:
                accelerator.save_state(str(folder))
        sampler.sync()
    return epochs


class Net(nn.Module):
    """The model as transformers call it."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.model = model(classes)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"logits": self.model(x)}


def with_huggingface(folder: Path, resume: bool) -> Epochs:
    from transformers import TrainingArguments

    from impsamp_fast.integrations.huggingface import ImportanceTrainer

    epochs: Epochs = [[] for _ in range(EPOCHS)]

    class Recording(ImportanceTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
            epochs[int(self.state.epoch or 0)].append(inputs["index"].tolist())
            return super().compute_loss(model, inputs, *args, **options)

    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=N,
        num_train_epochs=EPOCHS,
        save_strategy="steps",
        save_steps=SAVED,
        dataloader_num_workers=2,
        dataloader_persistent_workers=True,
        dataloader_drop_last=True,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Recording(
        Net(),
        arguments,
        train_dataset=WithIndex(Numbered()),
        sampler=make_sampler(),
        row_losses=lambda output, labels: losses_of(output["logits"], labels),
    )
    per_epoch = SIZE // (2 * N)
    checkpoint = str(folder / f"checkpoint-{per_epoch + SAVED}")
    trainer.train(resume_from_checkpoint=checkpoint if resume else None)
    assert trainer.state.global_step == trainer.state.max_steps == EPOCHS * per_epoch
    return epochs


def strategy_of_huggingface(folder: Path, resume: bool) -> list[list[int]]:
    """The samples that a strategy picks, by importance from a step that each rank finds."""
    from transformers import TrainingArguments

    from impsamp_fast.integrations.huggingface import ImportanceTrainer

    net = Net(classes=2)
    selector = Selector(net, 2, target="labels", start=LossRatio(0.99), seed=0)
    picked: list[list[int]] = []

    class Recording(ImportanceTrainer):
        def _mini_batch(self, *args: Any) -> Any:
            batch = super()._mini_batch(*args)
            picked.append([*batch.index.tolist(), int(batch.importance)])
            return batch

    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=N,
        num_train_epochs=EPOCHS,
        learning_rate=0.1,
        save_strategy="steps",
        save_steps=SAVED,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    data: Any = WithIndex(Numbered(classes=2))
    trainer = Recording(net, arguments, train_dataset=data, strategy=selector)
    checkpoint = str(folder / f"checkpoint-{SIZE // (2 * N) + SAVED}")
    trainer.train(resume_from_checkpoint=checkpoint if resume else None)
    return picked


def with_lightning(folder: Path, resume: bool, wrapped: bool = False) -> Epochs:
    from lightning import pytorch as lightning

    from impsamp_fast.integrations.lightning import ImportanceSampling

    sampler = make_sampler()
    epochs: Epochs = [[] for _ in range(EPOCHS)]
    validated: list[int] = []

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            losses = losses_of(self.model(batch["x"]), batch["labels"])
            sampler.update(batch["index"], losses=losses)
            epochs[self.current_epoch].append(batch["index"].tolist())
            return sampler.mean(losses, batch["index"])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                validated.append(self.current_epoch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    every = lightning.callbacks.ModelCheckpoint(
        folder, "{step}", save_top_k=-1, every_n_train_steps=SAVED
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        max_epochs=EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[ImportanceSampling(sampler), every],
        use_distributed_sampler=wrapped,
        reload_dataloaders_every_n_epochs=1,
    )
    checkpoint = str(folder / f"step={SIZE // (2 * N) + SAVED}.ckpt")
    validation: Any = DataLoader(Numbered(), batch_size=SIZE)
    trainer.fit(
        Model(),
        loader_of(sampler, batches=True),
        validation,
        ckpt_path=checkpoint if resume else None,
    )
    assert validated == list(range(1 if resume else 0, EPOCHS))
    return epochs


def wrapped_by_lightning(folder: Path) -> str:
    """What is told of the sampler that Lightning puts around one."""
    try:
        with_lightning(folder, resume=False, wrapped=True)
    except RuntimeError as error:
        return str(error)
    return "nothing"


def trainings(folder: Path) -> Iterator[tuple[str, Any]]:
    for resume in (False, True):
        for batches in (False, True):
            name = f"accelerate-{batches}"
            found = with_accelerate(folder / name, not resume, resume, batches)
            yield f"{name}-{resume}", found
        yield f"huggingface-{resume}", with_huggingface(folder / "huggingface", resume)
        picked = strategy_of_huggingface(folder / "strategy", resume)
        yield f"strategy-{resume}", picked
        yield f"lightning-{resume}", with_lightning(folder / "lightning", resume)
    yield "wrapped", wrapped_by_lightning(folder / "wrapped")


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    found = dict(trainings(place))
    torch.save(found, place / f"found-{os.environ['RANK']}.pt")
