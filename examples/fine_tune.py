"""Fine-tunes a text classifier on a file of lines "label<tab>text", and goes on where it stopped.

    python examples/fine_tune.py reviews.tsv --model distilbert-base-uncased --rate 2e-4

A model of transformers is taken by its name or folder; its body learns ten times as slowly as its
head. Without --model a small one is trained from scratch on the words.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import impsamp_fast as isf

K, N = 256, 32  # rows of a large batch, and of a mini-batch
EVERY = 100  # steps from checkpoint to checkpoint
SMOOTHING = 0.1  # of the labels


class MeanOfWords(nn.Module):
    """Called as the classifiers of transformers are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.base_model = nn.EmbeddingBag(4096, 64, padding_idx=0)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, classes))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.base_model(input_ids)))


def load(name: str | None, classes: int, texts: list[str]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model, and the texts as it reads them."""
    if name is None:
        words = [[1 + crc32(word.encode()) % 4095 for word in text.split()] for text in texts]
        rows = pad_sequence([torch.tensor(numbers) for numbers in words], batch_first=True)
        return MeanOfWords(classes), {"input_ids": rows}
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=classes)
    tokenizer = AutoTokenizer.from_pretrained(name)
    return model, dict(tokenizer(texts, truncation=True, padding=True, return_tensors="pt"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help='lines of "label<tab>text"')
    parser.add_argument("--model", help="of transformers")
    parser.add_argument("--rate", type=float, default=1e-3, help="of the head, after the warm-up")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--always", action="store_true", help="score even where it does not pay")
    parser.add_argument("--checkpoint", type=Path, default=Path("fine_tune.pt"))
    options = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lines = [line.partition("\t") for line in options.file.read_text().splitlines()]
    classes = sorted({label for label, _, _ in lines})
    model, data = load(options.model, len(classes), [text for _, _, text in lines])
    model.to(device).train()
    data["labels"] = torch.tensor([classes.index(label) for label, _, _ in lines])
    data = {name: part.to(device) for name, part in data.items()}
    test, train = torch.randperm(len(lines)).tensor_split([len(lines) // 10])
    if len(train) < K:
        parser.error(f"{options.file} has {len(train)} lines to train on, expected at least {K}")

    body = set(model.base_model.parameters())
    head = [weight for weight in model.parameters() if weight not in body]
    groups = [{"params": [*body], "lr": options.rate / 10}, {"params": head, "lr": options.rate}]
    optimizer = torch.optim.AdamW(groups)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], options.steps, pct_start=0.1
    )
    # BreakEven goes by the clock: only with --always are two runs the same.
    start = isf.Always() if options.always else isf.BreakEven()
    selector = isf.Selector(model, N, target="labels", label_smoothing=SMOOTHING, start=start)

    saved = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "selector": selector}
    first = 0
    if options.checkpoint.exists():
        state = torch.load(options.checkpoint)
        for name, part in saved.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        first = state["step"]
    for step in range(first, options.steps):
        epoch, i = divmod(step, len(train) // K)
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        rows = train[order[i * K : (i + 1) * K]]
        batch = selector({name: part[rows] for name, part in data.items()})
        logits = model(**batch.x).logits
        loss = F.cross_entropy(logits, batch.y, reduction="none", label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        batch.mean(loss).backward()
        optimizer.step()
        scheduler.step()
        if (step + 1) % EVERY == 0:
            state = {name: part.state_dict() for name, part in saved.items()}
            state |= {"step": step + 1, "random": torch.get_rng_state()}
            torch.save(state, options.checkpoint)

    model.eval()
    with torch.no_grad():
        x = {name: part[test] for name, part in data.items()}
        y = x.pop("labels")
        accuracy = (model(**x).logits.argmax(dim=1) == y).float().mean()
    print(f"{accuracy:.1%} of {len(test)} held-out texts are classified as labelled")
    print(selector.report())


if __name__ == "__main__":
    main()
