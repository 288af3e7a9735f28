"""A small convolutional network on MNIST, with and without importance sampling for the same time.

    python examples/mnist.py --data data --seconds 10

Takes the four idx files in DATA/MNIST/raw, which torchvision downloads where they are missing.
"""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impsamp_fast as isf

K, N = 1024, 128  # rows of a large batch, and of a mini-batch
Data = tuple[Tensor, Tensor]


def read(folder: Path, stem: str) -> Tensor:
    """The unsigned bytes of an idx file: 4 bytes, of which one counts the sizes, sizes, values."""
    packed, plain = folder / f"{stem}.gz", folder / stem
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()
    sizes = [int.from_bytes(content[4 * i : 4 * i + 4], "big") for i in range(1, content[3] + 1)]
    return torch.frombuffer(bytearray(content[4 + 4 * len(sizes) :]), dtype=torch.uint8).view(sizes)


def load(root: Path, split: str) -> Data:
    """Normalised images [N, 1, 28, 28] and labels [N]; split is "train" or "t10k"."""
    folder = root / "MNIST" / "raw"
    if not any(folder.glob(f"{split}-images-idx3-ubyte*")):
        from torchvision.datasets import MNIST

        MNIST(root, download=True)
    images = read(folder, f"{split}-images-idx3-ubyte").unsqueeze(1).float()
    return (images / 255 - 0.1307) / 0.3081, read(folder, f"{split}-labels-idx1-ubyte").long()


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, 10)),
    ).to(memory_format=torch.channels_last)


def large_batches(x: Tensor, y: Tensor) -> Iterator[Data]:
    while True:
        for rows in torch.randperm(len(x))[: len(x) // K * K].split(K):
            yield x[rows], y[rows]


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    rows = zip(x.split(K), y.split(K), strict=True)
    return 100 * sum((model(x).argmax(dim=1) == y).sum().item() for x, y in rows) / len(x)


def train(
    model: nn.Module, rate: float, batches: Iterator[isf.MiniBatch], test: Data, seconds: float
) -> tuple[int, list[float]]:
    """How many steps there were, and the accuracy after each quarter of the time."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    steps, accuracies, begin = 0, [], perf_counter()
    while len(accuracies) < 4:
        batch = next(batches)
        loss = batch.mean(F.cross_entropy(model(batch.x), batch.y, reduction="none"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        spent = perf_counter() - begin
        if spent >= seconds * (len(accuracies) + 1) / 4:
            accuracies.append(accuracy(model, *test))
            begin = perf_counter() - spent  # the time is that of training alone
    return steps, accuracies


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder (default: data)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training for each")
    parser.add_argument("--compile", action="store_true", help="compile the scoring pass before")
    options = parser.parse_args(argv)

    isf.keep_freed_memory()
    data, test = load(options.data, "train"), load(options.data, "t10k")
    scoring = isf.ScoringPass(compile=options.compile, memory_format=torch.channels_last)
    print(f"{'':<12}{'rate':>8}{'steps':>8}   accuracy after each quarter of {options.seconds} s")
    for name, rate in ("uniform", 0.003), ("importance", 0.01):  # the rate that suits each
        torch.manual_seed(0)
        model = network()
        if name == "uniform":
            strategy = isf.strategies.make("uniform", model, N)
        else:  # while it pays, and otherwise all rows of a large batch, as in plain training
            start = isf.BreakEven()
            strategy = isf.Selector(model, N, start=start, scoring=scoring, whole_uniform=True)
            strategy.scores(data[0][:K], data[1][:K])  # compiles before the clock runs
        batches = strategy.batches(large_batches(*data))
        steps, accuracies = train(model, rate, batches, test, options.seconds)
        row = "".join(f"{value:9.2f}%" for value in accuracies)
        print(f"{name:<12}{rate:>8}{steps:>8}{row}")
    print(strategy.report())


if __name__ == "__main__":
    main()
