"""Lightning's Trainer, the package itself."""

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from impsamp_fast import InfoBatch, LossRatio, PickCounts, Selector, WithIndex
from impsamp_fast.integrations.lightning import ImportanceSampling
from tests.integrations.tiny import SIZE, Points, classifier

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*(num_workers|resuming from a checkpoint|log_every).*"),
]
EPOCHS, N, SELECTED = 4, 8, 4
PER_EPOCH = SIZE // N


def schedule_of(optimizer: Any) -> Any:
    """Down to 0 in as many steps as there are without a sampler."""
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=EPOCHS * PER_EPOCH)


class Model(lightning.LightningModule):
    def __init__(self, chooser: Any = None, frequency: int = 1) -> None:
        super().__init__()
        self.model = classifier()
        self.chooser = chooser
        self.frequency = frequency
        self.steps: list[Any] = []
        self.validated: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y, index = batch
        self.steps.append((index.tolist(), self.lr_schedulers().get_last_lr()[0]))
        if isinstance(self.chooser, Selector):
            chosen = self.chooser(x, y, index)
            losses = F.cross_entropy(self.model(chosen.x), chosen.y, reduction="none")
            return chosen.mean(losses)
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        self.chooser.update(index, losses=losses)
        return self.chooser.mean(losses, index)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.validated.append(self.trainer.current_epoch)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        schedule = {
            "scheduler": schedule_of(optimizer),
            "interval": "step",
            "frequency": self.frequency,
        }
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def loader_for(chooser: Any, workers: int, argument: str) -> DataLoader[Any]:
    data = WithIndex(Points())
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    if isinstance(chooser, Selector):
        # Of any other loader Lightning begins anew.
        return StatefulDataLoader(data, batch_size=N, shuffle=True, **options)
    if argument == "sampler":
        return DataLoader(data, batch_size=N, sampler=chooser, drop_last=True, **options)
    return DataLoader(data, batch_sampler=chooser.batches(N), **options)


def trainer_for(folder: Path, chooser: Any, epochs: int = EPOCHS, **options: Any) -> Any:
    keep = {"dirpath": folder, "save_top_k": -1}
    checkpoint = lightning.callbacks.ModelCheckpoint
    saved = [
        checkpoint(filename="{step}", every_n_train_steps=4, **keep),
        checkpoint(filename="{epoch}", save_on_train_epoch_end=True, **keep),
    ]
    defaults = {"reload_dataloaders_every_n_epochs": 1}
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[ImportanceSampling(chooser), *saved],
        **(defaults | options),
    )


def train(
    folder: Path,
    chooser: Any,
    resume: str | None = None,
    workers: int = 0,
    argument: str = "sampler",
    frequency: int = 1,
    **options: Any,
) -> Model:
    lightning.seed_everything(1, verbose=False)
    model = Model(chooser, frequency)
    if isinstance(chooser, Selector):
        chooser.model = model.model
    trainer_for(folder, chooser, **options).fit(
        model,
        loader_for(chooser, workers, argument),
        DataLoader(WithIndex(Points()), batch_size=SIZE),
        ckpt_path=None if resume is None else str(folder / f"{resume}.ckpt"),
    )
    return model


def sampler(full_after: float = 0.75) -> InfoBatch:
    return InfoBatch(SIZE, EPOCHS, full_after=full_after, seed=0)


def by_hand() -> list[Any]:
    """The steps of a loop of one's own."""
    chooser, steps = sampler(), []
    lightning.seed_everything(1, verbose=False)
    model = Model(chooser)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = schedule_of(optimizer)
    for epoch in range(EPOCHS):
        chooser.set_epoch(epoch)
        for x, y, index in loader_for(chooser, 0, "sampler"):
            losses = F.cross_entropy(model.model(x), y, reduction="none")
            optimizer.zero_grad()
            chooser.mean(losses, index).backward()
            optimizer.step()
            chooser.update(index, losses=losses)
            steps.append((index.tolist(), schedule.get_last_lr()[0]))
            schedule.step()
        while schedule.last_epoch < PER_EPOCH * (epoch + 1):
            schedule.step()
    return steps


@pytest.mark.parametrize(("workers", "argument"), [(0, "sampler"), (2, "batch_sampler")])
def test_a_sampler_validates_and_resumes(tmp_path: Path, workers: int, argument: str) -> None:
    options: Any = {"workers": workers, "argument": argument}
    whole = train(tmp_path, sampler(), **options)
    assert whole.steps == by_hand()
    assert len(whole.steps) < EPOCHS * PER_EPOCH
    assert whole.validated == list(range(EPOCHS))
    assert whole.lr_schedulers().get_last_lr()[0] == pytest.approx(0)
    for resume, made in [
        ("step=4", 4),
        (f"step={PER_EPOCH}", PER_EPOCH),
        ("epoch=0", PER_EPOCH),
        (f"step={PER_EPOCH + 4}", PER_EPOCH + 4),
    ]:
        resumed = train(tmp_path, sampler(), resume=resume, **options)
        assert resumed.steps == whole.steps[made:]
        assert torch.equal(resumed.chooser.memory.loss, whole.chooser.memory.loss)
        assert resumed.validated == whole.validated[made // PER_EPOCH :]


@pytest.mark.parametrize(("accumulated", "frequency"), [(1, 5), (2, 3), (2, 4)])
def test_schedulers_make_the_steps_of_full_epochs(
    tmp_path: Path, accumulated: int, frequency: int
) -> None:
    options: Any = {"accumulate_grad_batches": accumulated, "frequency": frequency}
    full, shorter = (train(tmp_path, sampler(after), **options) for after in (0, 0.75))
    assert len(shorter.steps) < len(full.steps) == EPOCHS * PER_EPOCH
    assert shorter.lr_schedulers().last_epoch == full.lr_schedulers().last_epoch


def test_a_strategy_resumes_exactly(tmp_path: Path) -> None:
    def chooser() -> Selector:
        return Selector(classifier(), SELECTED, start=LossRatio(0.9), counts=PickCounts(SIZE))

    whole = train(tmp_path, chooser())
    resumed = train(tmp_path, chooser(), resume="step=16")
    assert torch.equal(whole.chooser.counts.counts, resumed.chooser.counts.counts)
    pairs = zip(whole.parameters(), resumed.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_loader_with_another_sampler_is_told(tmp_path: Path) -> None:
    chooser = sampler()
    loader = loader_for(sampler(), 0, "sampler")
    with pytest.raises(RuntimeError, match="is a InfoBatch and not this InfoBatch"):
        trainer_for(tmp_path, chooser).fit(Model(chooser), loader)


def test_epochs_of_another_length_are_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"counts on 12.*reload_dataloaders_every_n_epochs=1"):
        train(tmp_path, sampler(), reload_dataloaders_every_n_epochs=0)


def test_states_of_one_class_have_names(tmp_path: Path) -> None:
    def fit(first: Any, second: Any, resume: Path | None = None) -> None:
        trainer = trainer_for(tmp_path, sampler(), epochs=1 if resume is None else 2)
        trainer.callbacks[:1] = [first, second]
        model = Model(first.chooser)
        first.chooser.model = model.model
        trainer.fit(model, loader_for(first.chooser, 0, "sampler"), ckpt_path=resume)

    def selectors() -> list[Selector]:
        return [Selector(classifier(), n, counts=PickCounts(SIZE)) for n in (SELECTED, 2)]

    with pytest.raises(ValueError, match="give each its own name"):
        fit(*map(ImportanceSampling, selectors()))
    fit(*map(ImportanceSampling, selectors(), ["one", "other"]))
    one, other = selectors()
    fit(
        ImportanceSampling(one, "one"),
        ImportanceSampling(other, "other"),
        tmp_path / "epoch=0.ckpt",
    )
    assert one.state_dict()["step"] == 2 * PER_EPOCH
    assert other.state_dict()["step"] == 0


def test_what_it_keeps_is_a_strategy_or_a_sampler() -> None:
    with pytest.raises(TypeError, match="chooser is 3"):
        ImportanceSampling(3)
