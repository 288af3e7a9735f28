"""Training by a GraphStep without a GPU, and the same by hand."""

import copy
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from impsamp_fast import GraphStep, Selector
from tests.toy import C, K, N


class Recorder:
    """Runs what was recorded when it is replayed, and puts its results where they were before."""

    def __init__(self, step):
        self.step = step
        self.recorded = 0

    def aside(self):
        return nullcontext()

    def record(self, step):
        self.recorded += 1
        # Recording must not do the step, but only the step can say where its results are.
        trained = (self.step.selector.model, self.step.optimizer)
        before = [copy.deepcopy(part.state_dict()) for part in trained]
        session = self.step._session
        seed = session.scalars.seed.clone()
        picked, loss = step()
        for part, state in zip(trained, before, strict=True):
            part.load_state_dict(state)
        session.scalars.seed.copy_(seed)
        self.step._session = session  # the optimiser's state was loaded by this stand-in only

        def replay():
            new, new_loss = step()
            loss.copy_(new_loss)
            for name in ("row", "weight", "tau"):
                if getattr(picked, name) is not None:
                    getattr(picked, name).copy_(getattr(new, name))

        return replay, (picked, loss)


def trainer(model, loss=None, warmup=3, lr=0.1, **options):
    selector = Selector(model, N, seed=7, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return GraphStep(selector, optimizer, loss, warmup=warmup)


def batches(count, rows=K):
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(rows, 5, generator=generator),
            torch.randint(C, (rows,), generator=generator),
        )
        for _ in range(count)
    ]


def train_by_hand(model, data, **options):
    """The loop of the README."""
    selector = Selector(model, N, seed=7, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for x, y in data:
        batch = selector(x, y)
        logits = model(**batch.x) if isinstance(batch.x, dict) else model(batch.x)
        loss = batch.mean(F.cross_entropy(logits, batch.y, reduction="none"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
